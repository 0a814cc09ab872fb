#define _GNU_SOURCE /* realpath */
#include "internal/file.h"

#include <errno.h>
#include <fcntl.h>
#include <limits.h>
#include <pthread.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <time.h>
#include <unistd.h>

struct eqi_output {
    equinv_context *ctx;
    int fd;
    char name[EQI_PATH_TEXT];
    char *target, *temporary; /* both NULL: written through */
    char *sidecar;            /* NULL: the temporary file goes if it is not completed */
    equinv_status failed;     /* first failure, and its sentence */
    char sentence[EQI_PATH_TEXT + 256];
    size_t used;
    _Alignas(EQI_ALIGNMENT) unsigned char buffer[EQI_BLOCK_BYTES];
};

const char *eqi_output_name(const eqi_output *output)
{
    return output->name;
}

bool eqi_output_failed(const eqi_output *output)
{
    return output->failed != EQUINV_OK;
}

static char *copy_text(const equinv_context *ctx, const char *text)
{
    const size_t size = strlen(text) + 1;
    char *const copy = eqi_alloc(ctx, size);
    if (copy)
        memcpy(copy, text, size);
    return copy;
}

static void free_text(const equinv_context *ctx, char *text)
{
    if (text)
        eqi_free(ctx, text, strlen(text) + 1);
}

static equinv_status set_target(eqi_output *o, const char *path)
{
    o->target = copy_text(o->ctx, path);
    EQI_CHECK(o->target, NOMEM, "out of memory: the name of %s needs %zu bytes", o->name,
              strlen(path) + 1);
    return EQUINV_OK;
}

/* A regular file that is there will be replaced under its own name, so that links to it stay. */
static equinv_status replace_file(eqi_output *o, const char *path, const struct stat *is)
{
    struct stat found;
    char real[PATH_MAX];
    if (is->st_nlink == 0) /* deleted or in memory, reached by descriptor: nothing to rename over */
        return ftruncate(o->fd, 0) == 0 ? EQUINV_OK : eqi_fail_system(o->name, "emptied", errno);
    close(o->fd);
    o->fd = -1;
    if (lstat(path, &found) == 0 && S_ISREG(found.st_mode))
        return set_target(o, path);
    EQI_CHECK(realpath(path, real) && stat(real, &found) == 0 && found.st_dev == is->st_dev &&
                  found.st_ino == is->st_ino,
              IO, "%s is a link to a file that has no name here, expected one to replace", o->name);
    return set_target(o, real);
}

/*
 * What is at the path now decides: nothing or a regular file is written beside and replaced, all else
 * is written through. Opening it for writing asks the system for permission, and lets it apply its
 * rules for links in shared folders.
 */
static equinv_status look_at_target(eqi_output *o, const char *path)
{
    struct stat is;
    do
        o->fd = open(path, O_WRONLY | O_CLOEXEC | O_NOCTTY);
    while (o->fd < 0 && errno == EINTR);
    if (o->fd < 0 && errno != ENOENT)
        return eqi_fail_system(o->name, "opened for writing", errno);
    if (o->fd < 0) {
        EQI_CHECK(lstat(path, &is) != 0, IO,
                  "%s is a symbolic link to nothing, expected a file or no file there", o->name);
        return set_target(o, path);
    }
    if (fstat(o->fd, &is) != 0)
        return eqi_fail_system(o->name, "examined", errno);
    return S_ISREG(is.st_mode) ? replace_file(o, path, &is) : EQUINV_OK;
}

/* "<target>.<process>.part" or, if that exists, "<target>.<process>.<number>.part". */
static equinv_status open_temporary(eqi_output *o)
{
    const char *const slash = strrchr(o->target, '/');
    const size_t folder = slash ? (size_t)(slash + 1 - o->target) : 0;
    size_t base = strlen(o->target + folder);
    base = base < NAME_MAX - 40 ? base : NAME_MAX - 40;
    char path[PATH_MAX];
    for (int number = 0; o->fd < 0 && number < 1000; number++) {
        char suffix[40];
        eqi_format(suffix, sizeof suffix, number ? ".%ld.%d.part" : ".%ld.part", (long)getpid(),
                   number);
        if (folder + base + strlen(suffix) >= sizeof path)
            return eqi_fail_system(o->name, "created", ENAMETOOLONG);
        memcpy(path, o->target, folder + base);
        memcpy(path + folder + base, suffix, strlen(suffix) + 1);
        o->fd = open(path, O_WRONLY | O_CREAT | O_EXCL | O_CLOEXEC | O_NOCTTY, 0666);
        if (o->fd < 0 && errno != EEXIST && errno != EINTR)
            return eqi_fail_system(o->name, "created (a temporary file beside it)", errno);
    }
    EQI_CHECK(o->fd >= 0, IO, "%s has 1000 temporary files beside it already, expected fewer",
              o->name);
    o->temporary = copy_text(o->ctx, path);
    if (!o->temporary) {
        unlink(path);
        return eqi_fail(EQUINV_ERR_NOMEM, "out of memory: the name of %s needs %zu bytes", o->name,
                        strlen(path) + 1);
    }
    return EQUINV_OK;
}

/* An output that has its target, and nothing open. */
static equinv_status begin(equinv_context *ctx, const char *path, eqi_output **output)
{
    eqi_output *const o = eqi_alloc(ctx, sizeof *o);
    EQI_CHECK(o, NOMEM, "out of memory: a writer needs %zu bytes", sizeof *o);
    memset(o, 0, offsetof(eqi_output, buffer));
    o->ctx = ctx;
    o->fd = -1;
    eqi_path_text(path, o->name);
    const equinv_status status = look_at_target(o, path);
    if (status == EQUINV_OK)
        *output = o;
    else
        eqi_output_abort(o);
    return status;
}

equinv_status eqi_output_create(equinv_context *ctx, const char *path, eqi_output **output)
{
    equinv_status status;
    eqi_output *o;
    EQI_TRY(begin(ctx, path, &o));
    if (o->target)
        EQI_TRY_GOTO(status, out, open_temporary(o));
    *output = o;
    return EQUINV_OK;
out:
    eqi_output_abort(o);
    return status;
}

static equinv_status flush(eqi_output *o);

void eqi_output_abort(eqi_output *o)
{
    if (!o)
        return;
    if (o->sidecar && o->temporary && o->fd >= 0 && !o->failed)
        flush(o); /* what was written stays, as far as the system takes it */
    if (o->fd >= 0)
        close(o->fd);
    if (o->temporary && !o->sidecar)
        unlink(o->temporary);
    free_text(o->ctx, o->temporary);
    free_text(o->ctx, o->sidecar);
    free_text(o->ctx, o->target);
    eqi_free(o->ctx, o, sizeof *o);
}

static equinv_status remember(eqi_output *o, equinv_status status)
{
    if (status != EQUINV_OK && !o->failed) {
        o->failed = status;
        eqi_format(o->sentence, sizeof o->sentence, "%s", equinv_last_error());
    }
    return status;
}

static equinv_status fail_again(const eqi_output *o)
{
    return eqi_fail(o->failed, "%s", o->sentence);
}

/*
 * write without the signals that kill a process whose pipe was closed or whose file grew too large:
 * in a library these are errors like others. One that was pending before stays so.
 */
static ssize_t write_quietly(int fd, const void *bytes, size_t size)
{
    static const int signals[] = {SIGPIPE, SIGXFSZ};
    sigset_t pending, block, before;
    sigpending(&pending);
    sigemptyset(&block);
    for (int i = 0; i < 2; i++)
        if (!sigismember(&pending, signals[i]))
            sigaddset(&block, signals[i]);
    pthread_sigmask(SIG_BLOCK, &block, &before);
    const ssize_t n = write(fd, bytes, size);
    const int error = errno;
    /* Always: a write that a closing pipe cut short succeeds, but leaves the signal. */
    while (sigtimedwait(&block, NULL, &(struct timespec){0, 0}) < 0 && errno == EINTR)
        ;
    pthread_sigmask(SIG_SETMASK, &before, NULL);
    errno = error;
    return n;
}

static equinv_status write_all(eqi_output *o, const unsigned char *bytes, size_t size)
{
    const size_t limit = (size_t)1 << 30;
    while (size > 0) {
        const ssize_t n = write_quietly(o->fd, bytes, size < limit ? size : limit);
        if (n < 0 && errno == EINTR)
            continue;
        if (n <= 0)
            return remember(o, eqi_fail_system(o->name, "written", n < 0 ? errno : ENOSPC));
        bytes += n;
        size -= (size_t)n;
    }
    return EQUINV_OK;
}

/* ---- what outlives the process -------------------------------------------------------------- */

enum { IDENTITY = 4096 };

static char *join(const equinv_context *ctx, const char *text, const char *end)
{
    const size_t size = strlen(text) + strlen(end) + 1;
    char *const both = eqi_alloc(ctx, size);
    if (both)
        eqi_format(both, size, "%s%s", text, end);
    return both;
}

/* The sidecar's text, cut at IDENTITY; "" if there is none. */
static void read_sidecar(const eqi_output *o, char text[IDENTITY])
{
    const int fd = open(o->sidecar, O_RDONLY | O_CLOEXEC | O_NOFOLLOW | O_NONBLOCK);
    size_t used = 0;
    for (ssize_t n = 1; fd >= 0 && n != 0 && used < IDENTITY - 1;) {
        n = read(fd, text + used, IDENTITY - 1 - used);
        if (n < 0 && errno != EINTR)
            break;
        used += n > 0 ? (size_t)n : 0;
    }
    text[used] = '\0';
    if (fd >= 0)
        close(fd);
}

static equinv_status write_sidecar(const eqi_output *o, const char *identity)
{
    const int flags = O_WRONLY | O_CREAT | O_TRUNC | O_CLOEXEC | O_NOFOLLOW | O_NOCTTY;
    const int fd = open(o->sidecar, flags, 0666);
    size_t size = strlen(identity);
    if (fd < 0)
        return eqi_fail_system(o->name, "created (the text beside its .part file)", errno);
    while (size > 0) {
        const ssize_t n = write_quietly(fd, identity, size);
        if (n < 0 && errno == EINTR)
            continue;
        if (n <= 0) {
            const int error = n < 0 ? errno : ENOSPC;
            close(fd);
            return eqi_fail_system(o->name, "written (the text beside its .part file)", error);
        }
        identity += n;
        size -= (size_t)n;
    }
    if (close(fd) != 0 && errno != EINTR)
        return eqi_fail_system(o->name, "written (the text beside its .part file)", errno);
    return EQUINV_OK;
}

/* ARG with the first line that differs. */
static equinv_status compare_identity(const eqi_output *o, const char *is, const char *wanted)
{
    if (strcmp(is, wanted) == 0)
        return EQUINV_OK;
    EQI_CHECK(*is, ARG,
              "%s.part has no %s.part.txt that says what it was made from; remove it to begin "
              "again",
              o->name, o->name);
    size_t line = 0;
    for (size_t i = 0; is[i] && is[i] == wanted[i]; i++)
        line = is[i] == '\n' ? i + 1 : line;
    return eqi_fail(
        EQUINV_ERR_ARG,
        "%s.part was made from something else: \"%.*s\", expected \"%.*s\"; remove it and "
        "%s.part.txt to begin again",
        o->name, (int)strcspn(is + line, "\n"), is + line, (int)strcspn(wanted + line, "\n"),
        wanted + line, o->name);
}

static equinv_status open_part(eqi_output *o)
{
    struct stat is;
    struct flock whole = {.l_type = F_WRLCK, .l_whence = SEEK_SET};
    const int flags = O_RDWR | O_CREAT | O_CLOEXEC | O_NOFOLLOW | O_NOCTTY | O_NONBLOCK;
    o->fd = open(o->temporary, flags, 0666);
    if (o->fd < 0)
        return eqi_fail_system(o->name, "opened (its .part file)", errno);
    EQI_CHECK(fstat(o->fd, &is) == 0 && S_ISREG(is.st_mode), IO,
              "%s.part is no regular file, expected one or none", o->name);
    EQI_CHECK(fcntl(o->fd, F_SETLK, &whole) == 0 || errno == ENOLCK, IO,
              "%s.part is being written by another process", o->name);
    return EQUINV_OK;
}

/* Whole rows behind the header; what is behind them is cut off. An empty file gets its sidecar. */
static equinv_status find_end(eqi_output *o, const char *identity, const void *header, size_t size,
                              int64_t row, int64_t most, int64_t *rows)
{
    char is[IDENTITY];
    unsigned char begin[EQI_NPY_HEADER];
    struct stat file;
    *rows = 0;
    if (fstat(o->fd, &file) != 0)
        return eqi_fail_system(o->name, "examined (its .part file)", errno);
    if (file.st_size == 0) {
        EQI_TRY(write_sidecar(o, identity));
        return eqi_output_write(o, header, size);
    }
    read_sidecar(o, is);
    EQI_TRY(compare_identity(o, is, identity));
    const bool cut = file.st_size < (off_t)size;
    EQI_CHECK(
        cut || (pread(o->fd, begin, size, 0) == (ssize_t)size && memcmp(begin, header, size) == 0),
        ARG, "%s.part has rows of another type or shape; remove it and %s.part.txt to begin again",
        o->name, o->name);
    if (!cut && row > 0)
        *rows = (file.st_size - (off_t)size) / row;
    *rows = *rows < most ? *rows : most;
    const off_t end = cut ? 0 : (off_t)size + *rows * row;
    if (ftruncate(o->fd, end) != 0 || lseek(o->fd, end, SEEK_SET) != end)
        return eqi_fail_system(o->name, "continued", errno);
    return cut ? eqi_output_write(o, header, size) : EQUINV_OK;
}

equinv_status eqi_output_resume(equinv_context *ctx, const char *path, const char *identity,
                                const void *header, size_t size, int64_t row, int64_t most,
                                eqi_output **output, int64_t *rows)
{
    equinv_status status;
    eqi_output *o;
    EQI_TRY(begin(ctx, path, &o));
    if (!o->target) {
        status = eqi_fail(EQUINV_ERR_ARG,
                          "%s is written through, expected a file: only one can be "
                          "continued",
                          o->name);
        goto out;
    }
    o->temporary = join(ctx, o->target, ".part");
    o->sidecar = join(ctx, o->target, ".part.txt");
    if (!o->temporary || !o->sidecar) {
        status = eqi_fail(EQUINV_ERR_NOMEM, "out of memory: the names beside %s", o->name);
        goto out;
    }
    EQI_TRY_GOTO(status, out, open_part(o));
    EQI_TRY_GOTO(status, out, find_end(o, identity, header, size, row, most, rows));
    *output = o;
    return EQUINV_OK;
out:
    if (!o->sidecar) { /* a .part file that is not ours stays */
        free_text(ctx, o->temporary);
        o->temporary = NULL;
    }
    eqi_output_abort(o);
    return status;
}

static equinv_status flush(eqi_output *o)
{
    const size_t size = o->used;
    o->used = 0;
    return write_all(o, o->buffer, size);
}

equinv_status eqi_output_write(eqi_output *o, const void *bytes, size_t size)
{
    if (o->failed)
        return fail_again(o);
    if (o->used + size > sizeof o->buffer)
        EQI_TRY(flush(o));
    if (size >= sizeof o->buffer)
        return write_all(o, bytes, size);
    if (size > 0)
        memcpy(o->buffer + o->used, bytes, size);
    o->used += size;
    return EQUINV_OK;
}

equinv_status eqi_output_tensor(eqi_output *o, const equinv_tensor *tensor)
{
    if (o->failed)
        return fail_again(o);
    const bool swap = __BYTE_ORDER__ != __ORDER_LITTLE_ENDIAN__;
    const int64_t count = equinv_tensor_count(tensor);
    const int64_t size = (int64_t)equinv_dtype_size(tensor->dtype);
    if (!swap && eqi_is_contiguous(tensor))
        return eqi_output_write(o, tensor->data, (size_t)(count * size));
    EQI_TRY(flush(o));
    eqi_cursor cursor = eqi_cursor_at_start(tensor);
    for (int64_t done = 0; done < count;) {
        const int64_t n = count - done < EQI_BLOCK ? count - done : EQI_BLOCK;
        eqi_cursor_gather(&cursor, o->buffer, n);
        if (swap)
            eqi_swap_bytes(o->buffer, n, size);
        EQI_TRY(write_all(o, o->buffer, (size_t)(n * size)));
        done += n;
    }
    return EQUINV_OK;
}

/* close may report what the disk refused; rename must meet nothing or a regular file. */
static equinv_status put_in_place(eqi_output *o)
{
    struct stat is;
    EQI_TRY(flush(o));
    const int fd = o->fd;
    o->fd = -1;
    if (close(fd) != 0 && errno != EINTR)
        return eqi_fail_system(o->name, "written", errno);
    if (!o->target)
        return EQUINV_OK;
    EQI_CHECK(lstat(o->target, &is) != 0 || S_ISREG(is.st_mode), IO,
              "%s has become something else than a regular file, expected to replace one", o->name);
    if (rename(o->temporary, o->target) != 0)
        return eqi_fail_system(o->name, "replaced", errno);
    free_text(o->ctx, o->temporary);
    o->temporary = NULL;
    if (o->sidecar)
        unlink(o->sidecar);
    return EQUINV_OK;
}

equinv_status eqi_output_commit(eqi_output *o)
{
    const equinv_status status = o->failed ? fail_again(o) : put_in_place(o);
    eqi_output_abort(o);
    return status;
}
