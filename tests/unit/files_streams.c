/* Files that are written and read piece by piece: pipes, when a target appears, what is left beside it. */
#define _GNU_SOURCE
#include <fcntl.h>
#include <pthread.h>
#include <signal.h>
#include <sys/stat.h>
#include <unistd.h>

#include "tests/util/files.h"

typedef struct feeding {
    const char *path;
    const char *bytes;
    size_t size, step;
} feeding;

static void *feed(void *arg)
{
    const feeding *const f = arg;
    const int fd = open(f->path, O_WRONLY);
    for (size_t at = 0; at < f->size;) {
        const size_t n = f->size - at < f->step ? f->size - at : f->step;
        const ssize_t written = write(fd, f->bytes + at, n);
        if (written <= 0)
            break;
        at += (size_t)written;
    }
    close(fd);
    return NULL;
}

/* From a pipe that gives its bytes as it likes, plain and compressed. */
START_TEST(read_from_a_pipe)
{
    static const size_t steps[] = {1, 7, 4096, 1 << 20};
    equinv_context *const ctx = context_new();
    temp_folder folder = temp_folder_new();
    rng r = {2};
    equinv_tensor t = tensor_random(ctx, &r, EQUINV_I32, 2, 123, 45), back;
    OK(equinv_tensor_save(ctx, temp_path(&folder, "a.npy"), &t));
    char fifo[512];
    snprintf(fifo, sizeof fifo, "%s", temp_path(&folder, "fifo"));
    ck_assert_int_eq(mkfifo(fifo, 0600), 0);
    for (int form = 0; form < 2; form++) {
        size_t size;
        char *text = file_read(temp_path(&folder, "a.npy"), &size);
        if (form == 1 && !file_write_gzip(temp_path(&folder, "a.gz"), text, size)) {
            SKIP("no zlib in this build");
            free(text);
            break;
        }
        if (form == 1) {
            free(text);
            text = file_read(temp_path(&folder, "a.gz"), &size);
        }
        for (int i = 0; i < 4; i++) {
            feeding f = {fifo, text, size, steps[i]};
            pthread_t thread;
            ck_assert_int_eq(pthread_create(&thread, NULL, feed, &f), 0);
            OK(equinv_tensor_load(ctx, fifo, &back));
            pthread_join(thread, NULL);
            ASSERT_SAME(&back, &t);
            equinv_tensor_destroy(ctx, &back);
        }
        free(text);
    }
    equinv_tensor_destroy(ctx, &t);
    temp_folder_free(&folder);
    equinv_context_destroy(ctx);
}
END_TEST

typedef struct drain {
    const char *path;
    char *bytes;
    size_t size;
} drain;

static void *drain_all(void *arg)
{
    drain *const d = arg;
    d->bytes = file_read(d->path, &d->size);
    return NULL;
}

START_TEST(write_through_a_pipe)
{
    equinv_context *const ctx = context_new();
    temp_folder folder = temp_folder_new();
    rng r = {4};
    equinv_tensor t = tensor_random(ctx, &r, EQUINV_F64, 2, 300, 40);
    char fifo[512];
    snprintf(fifo, sizeof fifo, "%s", temp_path(&folder, "fifo"));
    ck_assert_int_eq(mkfifo(fifo, 0600), 0);
    drain d = {fifo, NULL, 0};
    pthread_t thread;
    ck_assert_int_eq(pthread_create(&thread, NULL, drain_all, &d), 0);
    OK(equinv_tensor_save(ctx, fifo, &t));
    pthread_join(thread, NULL);
    size_t size;
    OK(equinv_tensor_save(ctx, temp_path(&folder, "a"), &t));
    char *const text = file_read(temp_path(&folder, "a"), &size);
    ck_assert(size == d.size && memcmp(text, d.bytes, size) == 0);
    struct stat is;
    ck_assert(stat(fifo, &is) == 0 && S_ISFIFO(is.st_mode));
    ck_assert_int_eq(temp_count(&folder), 2);
    OK(equinv_tensor_save(ctx, "/dev/null", &t));
    ck_assert(stat("/dev/null", &is) == 0 && S_ISCHR(is.st_mode));
    free(text);
    free(d.bytes);
    equinv_tensor_destroy(ctx, &t);
    temp_folder_free(&folder);
    equinv_context_destroy(ctx);
}
END_TEST

static void *read_a_little(void *arg)
{
    char byte;
    const int fd = open(arg, O_RDONLY);
    const ssize_t n = read(fd, &byte, 1);
    close(fd);
    return n == 1 ? arg : NULL;
}

/* A reader that goes away is an error, not a signal. */
START_TEST(closed_pipe_is_io)
{
    equinv_context *const ctx = context_new();
    temp_folder folder = temp_folder_new();
    equinv_tensor t = tensor_new(ctx, EQUINV_F64, 1, 1 << 20);
    char fifo[512];
    snprintf(fifo, sizeof fifo, "%s", temp_path(&folder, "fifo"));
    ck_assert_int_eq(mkfifo(fifo, 0600), 0);
    signal(SIGPIPE, SIG_DFL);
    pthread_t thread;
    ck_assert_int_eq(pthread_create(&thread, NULL, read_a_little, fifo), 0);
    FAILS(EQUINV_ERR_IO, "Broken pipe", equinv_tensor_save(ctx, fifo, &t));
    pthread_join(thread, NULL);
    sigset_t pending;
    sigpending(&pending);
    ck_assert(!sigismember(&pending, SIGPIPE));
    equinv_tensor_destroy(ctx, &t);
    temp_folder_free(&folder);
    equinv_context_destroy(ctx);
}
END_TEST

START_TEST(target_appears_on_commit_alone)
{
    equinv_context *const ctx = context_new();
    temp_folder folder = temp_folder_new();
    rng r = {5};
    equinv_tensor t = tensor_random(ctx, &r, EQUINV_F32, 2, 6, 2), part, back;
    equinv_tensor wide = tensor_new(ctx, EQUINV_F32, 2, 1, 3),
                  other = tensor_as(ctx, &t, EQUINV_F64);
    char path[512];
    snprintf(path, sizeof path, "%s", temp_path(&folder, "a.npy"));
    for (int existed = 0; existed < 2; existed++)
        for (int how = 0; how < 3; how++) {
            equinv_writer *writer = NULL;
            OK(equinv_writer_create(ctx, path, EQUINV_F32, 2, t.shape, &writer));
            ck_assert_int_eq(temp_count(&folder), existed + 1);
            /* Refused rows leave the writer as it was. */
            FAILS(EQUINV_ERR_SHAPE, "[1, 3]", equinv_writer_write(writer, &wide));
            FAILS(EQUINV_ERR_DTYPE, "f64", equinv_writer_write(writer, &other));
            OK(equinv_tensor_rows(&t, 0, 4, &part));
            OK(equinv_writer_write(writer, &part));
            FAILS(EQUINV_ERR_SHAPE, "at most the 2", equinv_writer_write(writer, &part));
            if (how == 0) {
                equinv_writer_abort(writer);
            } else if (how == 1) {
                FAILS(EQUINV_ERR_SHAPE, "4 of its 6 rows", equinv_writer_commit(writer));
            } else {
                OK(equinv_tensor_rows(&t, 4, 2, &part));
                OK(equinv_writer_write(writer, &part));
                ck_assert_int_eq(access(path, F_OK), existed ? 0 : -1);
                OK(equinv_writer_commit(writer));
            }
            ck_assert_int_eq(temp_count(&folder), existed || how == 2);
            if (existed && how < 2) {
                OK(equinv_tensor_load(ctx, path, &back));
                ASSERT_SAME(&back, &t);
                equinv_tensor_destroy(ctx, &back);
            }
        }
    OK(equinv_tensor_load(ctx, path, &back));
    ASSERT_SAME(&back, &t);
    equinv_tensor_destroy(ctx, &back);
    equinv_tensor_destroy(ctx, &wide);
    equinv_tensor_destroy(ctx, &other);
    equinv_tensor_destroy(ctx, &t);
    temp_folder_free(&folder);
    equinv_context_destroy(ctx);
}
END_TEST

START_TEST(mode_follows_the_umask)
{
    equinv_context *const ctx = context_new();
    temp_folder folder = temp_folder_new();
    equinv_tensor t = tensor_new(ctx, EQUINV_U8, 1, 1);
    const mode_t before = umask(027);
    OK(equinv_tensor_save(ctx, temp_path(&folder, "a"), &t));
    umask(before);
    struct stat is;
    ck_assert_int_eq(stat(temp_path(&folder, "a"), &is), 0);
    ck_assert_int_eq(is.st_mode & 0777, 0640);
    equinv_tensor_destroy(ctx, &t);
    temp_folder_free(&folder);
    equinv_context_destroy(ctx);
}
END_TEST

START_TEST(symbolic_links)
{
    equinv_context *const ctx = context_new();
    temp_folder folder = temp_folder_new();
    rng r = {6};
    equinv_tensor t = tensor_random(ctx, &r, EQUINV_F32, 1, 5), back;
    char link[512], file[512];
    snprintf(link, sizeof link, "%s", temp_path(&folder, "link"));
    snprintf(file, sizeof file, "%s", temp_path(&folder, "file"));
    ck_assert_int_eq(symlink("file", link), 0);
    FAILS(EQUINV_ERR_IO, "symbolic link to nothing", equinv_tensor_save(ctx, link, &t));
    ck_assert_int_eq(temp_count(&folder), 1);
    file_write(file, "old", 3);
    OK(equinv_tensor_save(ctx, link, &t));
    struct stat is;
    ck_assert(lstat(link, &is) == 0 && S_ISLNK(is.st_mode));
    ck_assert(lstat(file, &is) == 0 && S_ISREG(is.st_mode));
    OK(equinv_tensor_load(ctx, file, &back));
    ASSERT_SAME(&back, &t);
    ck_assert_int_eq(temp_count(&folder), 2);
    equinv_tensor_destroy(ctx, &back);
    equinv_tensor_destroy(ctx, &t);
    temp_folder_free(&folder);
    equinv_context_destroy(ctx);
}
END_TEST

/* Files reached by a descriptor: one without a name is written through, one with a name replaced. */
START_TEST(descriptors_and_relative_paths)
{
    equinv_context *const ctx = context_new();
    temp_folder folder = temp_folder_new();
    equinv_tensor t = tensor_new(ctx, EQUINV_U8, 1, 100), back, part;
    char path[64], before[512];
    for (int named = 0; named < 2; named++) {
        const int fd = open(temp_path(&folder, "a"), O_RDWR | O_CREAT, 0600);
        ck_assert(fd >= 0 && (named || unlink(temp_path(&folder, "a")) == 0));
        snprintf(path, sizeof path, "/proc/self/fd/%d", fd);
        for (int64_t n = 100; n > 0; n -= 30) { /* each shorter than the one before */
            OK(equinv_tensor_rows(&t, 0, n, &part));
            OK(equinv_tensor_save(ctx, path, &part));
            OK(equinv_tensor_load(ctx, named ? temp_path(&folder, "a") : path, &back));
            ck_assert_int_eq(back.shape[0], n);
            equinv_tensor_destroy(ctx, &back);
            if (named)
                break; /* the descriptor is now that of the file replaced */
        }
        close(fd);
        ck_assert_int_eq(temp_count(&folder), named);
    }
    ck_assert_ptr_nonnull(getcwd(before, sizeof before));
    ck_assert_int_eq(chdir(folder.path), 0);
    for (int i = 0; i < 2; i++) { /* new, and there */
        OK(equinv_tensor_save(ctx, "b", &t));
        OK(equinv_tensor_load(ctx, "b", &back));
        ASSERT_SAME(&back, &t);
        equinv_tensor_destroy(ctx, &back);
    }
    ck_assert_int_eq(chdir(before), 0);
    ck_assert_int_eq(temp_count(&folder), 2);
    equinv_tensor_destroy(ctx, &t);
    temp_folder_free(&folder);
    equinv_context_destroy(ctx);
}
END_TEST

/* Two writers of one target at once have their own temporary files; long names are no obstacle. */
START_TEST(temporary_names)
{
    equinv_context *const ctx = context_new();
    temp_folder folder = temp_folder_new();
    equinv_tensor t = tensor_new(ctx, EQUINV_U8, 1, 3), back;
    char name[256], path[512];
    memset(name, 'x', 255);
    name[255] = '\0';
    snprintf(path, sizeof path, "%s", temp_path(&folder, name));
    equinv_writer *writers[5];
    for (int i = 0; i < 5; i++) {
        OK(equinv_writer_create(ctx, path, EQUINV_U8, 1, t.shape, &writers[i]));
        ck_assert_int_eq(temp_count(&folder), i + 1);
    }
    for (int i = 0; i < 5; i++) {
        tensor_set(&t, 0, i);
        OK(equinv_writer_write(writers[i], &t));
    }
    for (int i = 0; i < 5; i++) {
        OK(equinv_writer_commit(writers[i]));
        OK(equinv_tensor_load(ctx, path, &back));
        ck_assert(tensor_get(&back, 0) == i);
        equinv_tensor_destroy(ctx, &back);
    }
    ck_assert_int_eq(temp_count(&folder), 1);
    equinv_tensor_destroy(ctx, &t);
    temp_folder_free(&folder);
    equinv_context_destroy(ctx);
}
END_TEST

int main(void)
{
    const test_entry tests[] = {
        {read_from_a_pipe, 1},
        {write_through_a_pipe, 1},
        {closed_pipe_is_io, 1},
        {target_appears_on_commit_alone, 1},
        {mode_follows_the_umask, 1},
        {symbolic_links, 1},
        {descriptors_and_relative_paths, 1},
        {temporary_names, 1},
    };
    return run_tests("files_streams", tests, sizeof tests / sizeof *tests);
}
