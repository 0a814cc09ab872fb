#define _XOPEN_SOURCE 700 /* mkdtemp */
#include "tests/util/command.h"

#include <dirent.h>
#include <fcntl.h>
#include <limits.h>
#include <signal.h>
#include <sys/stat.h>
#include <sys/wait.h>
#include <time.h>
#include <unistd.h>

/* ---- starting the program ------------------------------------------------------------------- */

pid_t start(const char *folder, const setup *s, const char *const *arguments)
{
    fflush(NULL);
    const pid_t child = fork();
    ck_assert(child >= 0);
    if (child > 0)
        return child;
    const char *argv[32] = {"equinv"};
    for (int i = 0; i < 30 && arguments[i]; i++)
        argv[i + 1] = arguments[i];
    if (chdir(folder) != 0)
        _exit(99);
    int ends[2] = {-1, -1};
    const int in = s->in_fd ? s->in_fd : open(s->in ? s->in : "/dev/null", O_RDONLY);
    int out = open(s->out ? s->out : ".out", O_WRONLY | O_CREAT | O_TRUNC, 0600);
    const int err = open(".err", O_WRONLY | O_CREAT | O_TRUNC, 0600);
    if (s->closed_pipe && pipe(ends) == 0) {
        close(ends[0]);
        out = ends[1];
    }
    if (in < 0 || out < 0 || err < 0)
        _exit(98);
    dup2(in, 0), dup2(out, 1), dup2(s->err_fd ? s->err_fd : err, 2);
    for (int fd = 3; fd < 64; fd++) /* no end of a pipe that the test holds stays open here */
        close(fd);
    for (int number = 1; number < 32;
         number++) /* some callers ignore SIGINT, and that is inherited */
        signal(number, SIG_DFL);
    unsetenv("EQUINV_BACKEND");
    unsetenv("EQUINV_VERBOSE");
    if (s->name)
        setenv(s->name, s->set, 1);
    if (s->largest_file)
        setrlimit(RLIMIT_FSIZE, &(struct rlimit){s->largest_file, s->largest_file});
    const char *const path = program_path("equinv");
    if (s->nobody && geteuid() == 0 && (setgid(65534) != 0 || setuid(65534) != 0))
        _exit(CANNOT_START);
    execv(path, (char *const *)argv);
    _exit(CANNOT_START);
}

void read_text(const char *folder, const char *name, char *text, size_t size)
{
    char path[PATH_MAX];
    snprintf(path, sizeof path, "%s/%s", folder, name);
    FILE *const file = fopen(path, "rb");
    const size_t length = file ? fread(text, 1, size - 1, file) : 0;
    text[length] = '\0';
    if (file)
        fclose(file);
}

const outcome *finish(pid_t child, const char *folder)
{
    static char out[16384], err[4096];
    static outcome o = {.out = out, .err = err};
    int status;
    pid_t ended = 0;
    for (int i = 0; i < 30000 && (ended = waitpid(child, &status, WNOHANG)) == 0; i++)
        nanosleep(&(struct timespec){0, 2000000}, NULL);
    if (ended != child) {
        kill(child, SIGKILL);
        waitpid(child, &status, 0);
        ck_abort_msg("the program did not end within a minute");
    }
    o.code = WIFEXITED(status) ? WEXITSTATUS(status) : -1;
    read_text(folder, ".out", out, sizeof out);
    read_text(folder, ".err", err, sizeof err);
    return &o;
}

const outcome *run_list(const char *folder, const char *command, const char *const *arguments)
{
    const char *all[24] = {command};
    for (int i = 0; i < 22 && arguments[i]; i++)
        all[i + 1] = arguments[i];
    return finish(start(folder, &(setup){.in = NULL}, all), folder);
}

/* ---- folders and files ---------------------------------------------------------------------- */

const char *folder_new(void)
{
    static char path[PATH_MAX];
    const char *const base = getenv("TMPDIR");
    snprintf(path, sizeof path, "%s/equinv-cli-XXXXXX", base && *base ? base : "/tmp");
    ck_assert(mkdtemp(path) != NULL);
    return path;
}

const char *at(const char *folder, const char *name)
{
    static char paths[8][PATH_MAX];
    static int next;
    char *const path = paths[next++ % 8];
    snprintf(path, PATH_MAX, "%s/%s", folder, name);
    return path;
}

int files_in(const char *folder)
{
    DIR *const list = opendir(folder);
    ck_assert(list != NULL);
    int count = 0;
    for (const struct dirent *e; (e = readdir(list));)
        count += strcmp(e->d_name, ".") != 0 && strcmp(e->d_name, "..") != 0 &&
                 strcmp(e->d_name, ".out") != 0 && strcmp(e->d_name, ".err") != 0;
    closedir(list);
    return count;
}

void write_text(const char *folder, const char *name, const char *text)
{
    FILE *const file = fopen(at(folder, name), "wb");
    ck_assert(file != NULL);
    ck_assert(fputs(text, file) >= 0 && fclose(file) == 0);
}

void folder_remove(const char *folder)
{
    DIR *const list = opendir(folder);
    ck_assert(list != NULL);
    char path[PATH_MAX];
    for (const struct dirent *e; (e = readdir(list));) {
        if (strcmp(e->d_name, ".") == 0 || strcmp(e->d_name, "..") == 0)
            continue;
        snprintf(path, sizeof path, "%s/%s", folder, e->d_name);
        if (unlink(path) != 0)
            folder_remove(path);
    }
    closedir(list);
    rmdir(folder);
}

void wait_for_files(const char *folder, int count)
{
    for (int i = 0; i < 1000 && files_in(folder) < count; i++)
        nanosleep(&(struct timespec){0, 10000000}, NULL);
    ck_assert_int_eq(files_in(folder), count);
}

void save_idx(const char *path, int axes, const int *extents, const uint8_t *content)
{
    FILE *const file = fopen(path, "wb");
    size_t count = 1;
    ck_assert(file != NULL);
    const unsigned char magic[4] = {0, 0, 8, (unsigned char)axes};
    ck_assert(fwrite(magic, 1, 4, file) == 4);
    for (int i = 0; i < axes; i++) {
        const unsigned char extent[4] = {0, 0, (unsigned char)(extents[i] >> 8),
                                         (unsigned char)extents[i]};
        ck_assert(fwrite(extent, 1, 4, file) == 4);
        count *= (size_t)extents[i];
    }
    ck_assert(fwrite(content, 1, count, file) == count && fclose(file) == 0);
}

/* ---- what it says --------------------------------------------------------------------------- */

bool has_line(const char *text, const char *begin)
{
    for (const char *line = text; line; line = strchr(line, '\n')) {
        line += *line == '\n';
        if (strncmp(line, begin, strlen(begin)) == 0)
            return true;
    }
    return false;
}

double json_number_at(const char *text, const char *section, const char *key)
{
    char word[64];
    const char *from = text;
    if (section) {
        snprintf(word, sizeof word, "\"%s\": {", section);
        from = strstr(text, word);
        ck_assert_msg(from != NULL, "no %s in %s", word, text);
    }
    snprintf(word, sizeof word, "\"%s\": ", key);
    from = strstr(from, word);
    ck_assert_msg(from != NULL, "no %s in %s", word, text);
    from += strlen(word);
    return strncmp(from, "null", 4) == 0 ? (double)NAN : strtod(from, NULL);
}

bool equal_numbers(double a, double b)
{
    return a == b || (isnan(a) && isnan(b));
}

/* ---- what the library says ------------------------------------------------------------------ */

bool has_cjson(void)
{
    return strstr(equinv_build_info(), "cjson: yes") != NULL;
}

equinv_tensor projected(equinv_context *ctx, const equinv_projection_desc *desc,
                        const equinv_tensor *latents, const equinv_tensor *mask)
{
    equinv_projection *p;
    equinv_tensor codes;
    int32_t ndim;
    int64_t shape[3];
    OK(equinv_projection_create(ctx, desc, &p));
    OK(equinv_projection_output_shape(p, latents->shape[0], &ndim, shape));
    OK(equinv_tensor_create(ctx, desc->dtype, ndim, shape, &codes));
    OK(equinv_project_forward(p, latents, mask, &codes, NULL, 0, NULL, 0));
    equinv_projection_destroy(p);
    return codes;
}

void assert_file_is(equinv_context *ctx, const char *path, const equinv_tensor *expected)
{
    equinv_tensor loaded;
    OK(equinv_tensor_load(ctx, path, &loaded));
    ck_assert_int_eq(loaded.dtype, expected->dtype);
    ck_assert_int_eq(loaded.ndim, expected->ndim);
    for (int i = 0; i < loaded.ndim; i++)
        ck_assert_int_eq(loaded.shape[i], expected->shape[i]);
    ASSERT_SAME(&loaded, expected);
    equinv_tensor_destroy(ctx, &loaded);
}

equinv_tensor save_large(equinv_context *ctx, const char *folder)
{
    rng r = {23};
    equinv_tensor z = tensor_random(ctx, &r, EQUINV_F32, 3, 4801, 260, 4);
    OK(equinv_tensor_save(ctx, at(folder, "z.npy"), &z));
    return z;
}
