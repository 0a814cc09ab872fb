/*
 * The program `equinv` as its users meet it: started as a process in a folder of its own, judged by
 * exit code, both outputs and the files that it leaves.
 */
#define _GNU_SOURCE /* pseudo-terminals */
#include <dirent.h>
#include <fcntl.h>
#include <limits.h>
#include <math.h>
#include <signal.h>
#include <sys/resource.h>
#include <sys/stat.h>
#include <sys/wait.h>
#include <time.h>
#include <unistd.h>

#include "tests/util/test.h"

enum { DONE = 0, REFUSED = 1, USAGE = 2, INTERRUPTED = 130, CANNOT_START = 97 };

/* ---- starting the program ------------------------------------------------------------------- */

/* build/tests/unit/cli -> build/bin/equinv */
static const char *program(void)
{
    static char path[PATH_MAX];
    const ssize_t length = readlink("/proc/self/exe", path, sizeof path - 32);
    ck_assert(length > 0);
    path[length] = '\0';
    for (int up = 0; up < 3; up++)
        *strrchr(path, '/') = '\0';
    strcat(path, "/bin/equinv");
    return path;
}

typedef struct setup {
    const char *in, *out;   /* files for stdin and stdout; NULL: nothing, and caught */
    int in_fd;              /* instead of `in`; 0: not */
    bool closed_pipe;       /* stdout is a pipe that nobody reads any more */
    bool nobody;            /* without root's rights */
    int err_fd;             /* where stderr goes instead of being caught; 0: not */
    const char *name, *set; /* an environment variable */
    rlim_t largest_file;    /* RLIMIT_FSIZE; 0: none */
} setup;

typedef struct outcome {
    int code; /* exit code; -1 with a signal */
    char out[16384], err[4096];
} outcome;

/* Starts it in a folder with outputs into files there, which are hidden from `files_in`. */
static pid_t start(const char *folder, const setup *s, const char *const *arguments)
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
    const char *const path = program();
    if (s->nobody && geteuid() == 0 && (setgid(65534) != 0 || setuid(65534) != 0))
        _exit(CANNOT_START);
    execv(path, (char *const *)argv);
    _exit(CANNOT_START);
}

static void read_text(const char *folder, const char *name, char *text, size_t size)
{
    char path[PATH_MAX];
    snprintf(path, sizeof path, "%s/%s", folder, name);
    FILE *const file = fopen(path, "rb");
    const size_t length = file ? fread(text, 1, size - 1, file) : 0;
    text[length] = '\0';
    if (file)
        fclose(file);
}

static const outcome *finish(pid_t child, const char *folder)
{
    static outcome o;
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
    read_text(folder, ".out", o.out, sizeof o.out);
    read_text(folder, ".err", o.err, sizeof o.err);
    return &o;
}

#define ARGUMENTS(...) ((const char *const[]){__VA_ARGS__, NULL})
#define RUN_WITH(folder, s, ...) finish(start(folder, &(s), ARGUMENTS(__VA_ARGS__)), folder)
#define RUN(folder, ...) finish(start(folder, &(setup){.in = NULL}, ARGUMENTS(__VA_ARGS__)), folder)

/* The same with the words after the command in an array. */
static const outcome *run_list(const char *folder, const char *command,
                               const char *const *arguments)
{
    const char *all[24] = {command};
    for (int i = 0; i < 22 && arguments[i]; i++)
        all[i + 1] = arguments[i];
    return finish(start(folder, &(setup){.in = NULL}, all), folder);
}

#define GIVES(o, expected)                                                                         \
    ck_assert_msg((o)->code == (expected),                                                         \
                  "exit code %d, expected %d; stdout \"%s\", stderr \"%s\"", (o)->code, expected,  \
                  (o)->out, (o)->err)
#define SAYS(text, words)                                                                          \
    ck_assert_msg(strstr(text, words) != NULL, "\"%s\" is not in \"%s\"", words, text)

/* A refusal: code, sentence on stderr, nothing on stdout. */
#define FAILS_WITH(o, expected, words)                                                             \
    do {                                                                                           \
        const outcome *const o_ = (o);                                                             \
        GIVES(o_, expected);                                                                       \
        SAYS(o_->err, words);                                                                      \
        ck_assert_str_eq(o_->out, "");                                                             \
    } while (0)

/* Done, and not a word on stderr. */
#define SUCCEEDS(o)                                                                                \
    do {                                                                                           \
        const outcome *const o_ = (o);                                                             \
        GIVES(o_, DONE);                                                                           \
        ck_assert_str_eq(o_->err, "");                                                             \
    } while (0)

/* ---- folders and files ---------------------------------------------------------------------- */

static const char *folder_new(void)
{
    static char path[PATH_MAX];
    const char *const base = getenv("TMPDIR");
    snprintf(path, sizeof path, "%s/equinv-cli-XXXXXX", base && *base ? base : "/tmp");
    ck_assert(mkdtemp(path) != NULL);
    return path;
}

/* "name/path" in a buffer of its own for each of the last eight calls. */
static const char *at(const char *folder, const char *name)
{
    static char paths[8][PATH_MAX];
    static int next;
    char *const path = paths[next++ % 8];
    snprintf(path, PATH_MAX, "%s/%s", folder, name);
    return path;
}

/* Number of files in a folder, but for those that catch outputs. */
static int files_in(const char *folder)
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

static void write_text(const char *folder, const char *name, const char *text)
{
    FILE *const file = fopen(at(folder, name), "wb");
    ck_assert(file != NULL);
    ck_assert(fputs(text, file) >= 0 && fclose(file) == 0);
}

static void folder_remove(const char *folder)
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

/* ---- the program as a whole ----------------------------------------------------------------- */

static const char *const commands[] = {"info",       "project", "report",
                                       "neighbours", "train",   "extract"};
enum { COMMANDS = sizeof commands / sizeof *commands };

START_TEST(help_tells_what_there_is)
{
    const char *const folder = folder_new();
    const outcome *o = RUN(folder, "--help");
    SUCCEEDS(o);
    SAYS(o->out, "Usage: equinv [OPTION...] COMMAND");
    SAYS(o->out, "Exit codes: 0 done, 1 refused or failed, 2 wrong usage, 130 interrupted");
    for (int i = 0; i < COMMANDS; i++)
        SAYS(o->out, commands[i]);
    folder_remove(folder);
}
END_TEST

START_TEST(every_command_has_help)
{
    const char *const folder = folder_new();
    char usage[64];
    const outcome *const o = RUN(folder, commands[_i], "--help");
    SUCCEEDS(o);
    snprintf(usage, sizeof usage, "Usage: equinv %s [OPTION...]", commands[_i]);
    ck_assert_msg(strncmp(o->out, usage, strlen(usage)) == 0, "help begins with \"%.60s\"", o->out);
    SAYS(o->out, "Exit codes:");
    folder_remove(folder);
}
END_TEST

START_TEST(version_is_the_librarys)
{
    const char *const folder = folder_new();
    char version[32];
    snprintf(version, sizeof version, "equinv %s\n", equinv_version());
    const outcome *o = RUN(folder, "--version");
    SUCCEEDS(o);
    ck_assert_str_eq(o->out, version);
    o = RUN(folder, "info", "--version");
    SUCCEEDS(o);
    ck_assert_str_eq(o->out, version);
    folder_remove(folder);
}
END_TEST

START_TEST(unknown_words_are_wrong_usage)
{
    const char *const folder = folder_new();
    FAILS_WITH(finish(start(folder, &(setup){.in = NULL}, (const char *const[]){NULL}), folder),
               USAGE, "equinv: no command was given");
    FAILS_WITH(RUN(folder, "projekt"), USAGE,
               "equinv: \"projekt\" is no command; there are: info, project, report");
    FAILS_WITH(RUN(folder, "projekt"), USAGE, "Try 'equinv --help'.");
    FAILS_WITH(RUN(folder, "--bogus"), USAGE, "equinv: unrecognized option '--bogus'");
    for (int i = 0; i < COMMANDS; i++) {
        char hint[64], option[64];
        snprintf(option, sizeof option, "equinv: %s: unrecognized option '--bogus'", commands[i]);
        snprintf(hint, sizeof hint, "Try 'equinv %s --help'.", commands[i]);
        FAILS_WITH(RUN(folder, commands[i], "--bogus"), USAGE, option);
        FAILS_WITH(RUN(folder, commands[i], "--bogus"), USAGE, hint);
    }
    FAILS_WITH(RUN(folder, "info", "more"), USAGE, "equinv: info: unexpected argument \"more\"");
    folder_remove(folder);
}
END_TEST

START_TEST(standard_output_that_fails_is_a_failure)
{
    const char *const folder = folder_new();
    const setup full = {.out = "/dev/full"}, closed = {.closed_pipe = true};
    const setup limited = {.largest_file = 100};
    const outcome *o = RUN_WITH(folder, full, "--help");
    GIVES(o, REFUSED);
    ck_assert_str_eq(o->err, "equinv: standard output: No space left on device\n");
    o = RUN_WITH(folder, closed, "info");
    GIVES(o, REFUSED);
    ck_assert_str_eq(o->err, "equinv: info: standard output: Broken pipe\n");
    o = RUN_WITH(folder, limited, "info", "--json");
    GIVES(o, REFUSED);
    ck_assert_str_eq(o->err, "equinv: info: standard output: File too large\n");
    folder_remove(folder);
}
END_TEST

/* ---- info ----------------------------------------------------------------------------------- */

/* One line of output begins with `start`. */
static bool has_line(const char *text, const char *begin)
{
    for (const char *line = text; line; line = strchr(line, '\n')) {
        line += *line == '\n';
        if (strncmp(line, begin, strlen(begin)) == 0)
            return true;
    }
    return false;
}

START_TEST(info_always_works)
{
    static const struct {
        const char *name, *set, *note;
    } wishes[] = {
        {NULL, NULL, NULL},
        {"EQUINV_BACKEND", "cpu", NULL},
        {"EQUINV_BACKEND", "cuda", "note: EQUINV_BACKEND asks for cuda"},
        {"EQUINV_BACKEND", "abacus", "note: EQUINV_BACKEND is \"abacus\""},
        {"EQUINV_ISA", "abacus", "note: EQUINV_ISA is \"abacus\""},
        {"EQUINV_VERBOSE", "abacus", "note: EQUINV_VERBOSE is \"abacus\""},
    };
    const char *const folder = folder_new();
    for (size_t i = 0; i < sizeof wishes / sizeof *wishes; i++) {
        const setup with = {.name = wishes[i].name, .set = wishes[i].set};
        const outcome *const o = RUN_WITH(folder, with, "info");
        SUCCEEDS(o);
        ck_assert(has_line(o->out, "equinv 0."));
        ck_assert(has_line(o->out, "device: cpu, "));
        ck_assert(has_line(o->out, "cuda: unavailable: "));
        if (wishes[i].note)
            SAYS(o->out, wishes[i].note);
        ck_assert(has_line(o->out, "note: ") == (wishes[i].note != NULL));
    }
    folder_remove(folder);
}
END_TEST

START_TEST(info_as_json)
{
    const char *const folder = folder_new();
    char version[64];
    snprintf(version, sizeof version, "{\"version\": \"%s\", \"build\": {\"openblas\": \"",
             equinv_version());
    const outcome *o = RUN(folder, "info", "--json");
    SUCCEEDS(o);
    SAYS(o->out, version);
    SAYS(o->out, "\"device\": \"cpu\", \"isa\": \"");
    SAYS(o->out, "\"cuda\": \"unavailable: ");
    ck_assert_msg(strcmp(strchr(o->out, '\n'), "\n") == 0, "more than one line: %s", o->out);
    /* Text from outside is escaped. */
    const setup strange = {.name = "EQUINV_BACKEND", .set = "a\"b\\\n\xff"};
    o = RUN_WITH(folder, strange, "info", "--json");
    SUCCEEDS(o);
    SAYS(o->out, "a\\\"b\\\\\\u000a\\u00ff");
    folder_remove(folder);
}
END_TEST

/* IDX of u8: magic 0, 0, 8, axes, then extents and bytes. */
static void save_idx(const char *path, int axes, const int *extents, const uint8_t *bytes)
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
    ck_assert(fwrite(bytes, 1, count, file) == count && fclose(file) == 0);
}

/* Latents of 64 GB that take no room: zeros behind a header. */
static void save_sparse(const char *folder)
{
    const char *const text =
        "{'descr': '<f4', 'fortran_order': False, 'shape': (16777216, 256, 4), }";
    unsigned char header[128];
    FILE *const file = fopen(at(folder, "z.npy"), "wb");
    ck_assert(file != NULL);
    memset(header, ' ', sizeof header);
    memcpy(header, "\x93NUMPY\x01\x00\x76\x00", 10);
    memcpy(header + 10, text, strlen(text));
    header[127] = '\n';
    ck_assert(fwrite(header, 1, sizeof header, file) == sizeof header && fclose(file) == 0);
    ck_assert(truncate(at(folder, "z.npy"), 128 + (INT64_C(16777216) << 12)) == 0);
}

/* Waits until a folder has that many files, ten seconds at most. */
static void wait_for_files(const char *folder, int count)
{
    for (int i = 0; i < 1000 && files_in(folder) < count; i++)
        nanosleep(&(struct timespec){0, 10000000}, NULL);
    ck_assert_int_eq(files_in(folder), count);
}

/* ---- project -------------------------------------------------------------------------------- */

typedef struct kind_case {
    equinv_projection_kind kind;
    const char *word;
} kind_case;
static const kind_case kinds[] = {
    {EQUINV_PROJECT_LINEAR, "linear"},
    {EQUINV_PROJECT_MAX, "max"},
    {EQUINV_PROJECT_MEAN, "mean"},
    {EQUINV_PROJECT_MEAN_RELU, "mean-relu"},
    {EQUINV_PROJECT_MEAN_ABS, "mean-abs"},
    {EQUINV_PROJECT_MEAN_SQUARE, "mean-square"},
    {EQUINV_PROJECT_SORTED, "sorted"},
    {EQUINV_PROJECT_ORBIT, "orbit"},
    {EQUINV_PROJECT_MIN, "min"},
    {EQUINV_PROJECT_MOMENT3, "moment3"},
    {EQUINV_PROJECT_POWER, "power"},
    {EQUINV_PROJECT_BISPECTRUM, "bispectrum"},
    {EQUINV_PROJECT_TRIPLE, "triple"},
    {EQUINV_PROJECT_BISPECTRUM_FULL, "bispectrum-full"},
    {EQUINV_PROJECT_FOURIER, "fourier"},
    {EQUINV_PROJECT_SORT, "sort"},
    {EQUINV_PROJECT_PROJECT_SORT, "project-sort"},
};
enum { KINDS = sizeof kinds / sizeof *kinds, FINITE_KINDS = 15 };

/* What the library makes of latents with a description whose shape is filled in. */
static equinv_tensor projected(equinv_context *ctx, const equinv_projection_desc *desc,
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

/* The file holds exactly this: shape, type and bits. */
static void assert_file_is(equinv_context *ctx, const char *path, const equinv_tensor *expected)
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

START_TEST(project_kinds_of_finite_groups_equal_the_library)
{
    static const equinv_dtype dtypes[] = {EQUINV_F32, EQUINV_F64};
    const equinv_dtype dtype = dtypes[_i % 2];
    const kind_case kind = kinds[_i / 2];
    const char *const folder = folder_new();
    equinv_context *const ctx = context_new();
    rng r = {(uint64_t)_i};
    equinv_tensor z = tensor_random(ctx, &r, dtype, 5, 7, 3, 8, 3, 3);
    OK(equinv_tensor_save(ctx, at(folder, "z.npy"), &z));
    equinv_projection_desc desc = EQUINV_PROJECTION_DESC_INIT;
    desc.kind = kind.kind;
    desc.group = equinv_dihedral(4);
    desc.dtype = dtype;
    desc.fields = 3, desc.height = 3, desc.width = 3;
    desc.k = 5, desc.seed = 18446744073709551615u, desc.scaled = true;
    desc.templates = EQUINV_TEMPLATE_RADEMACHER;
    equinv_tensor codes = projected(ctx, &desc, &z, NULL);
    SUCCEEDS(RUN(folder, "project", "z.npy", "-o", "c.npy", "--group", "D4", "--kind", kind.word,
                 "--k", "5", "--seed", "18446744073709551615", "--templates", "rademacher",
                 "--scaled"));
    assert_file_is(ctx, at(folder, "c.npy"), &codes);
    ck_assert_int_eq(files_in(folder), 2);
    equinv_tensor_destroy(ctx, &codes), equinv_tensor_destroy(ctx, &z);
    equinv_context_destroy(ctx);
    folder_remove(folder);
}
END_TEST

START_TEST(project_takes_lists)
{
    static const double thresholds[] = {-0.5, 1e-3, 2};
    static const int32_t ranks[] = {0, 3};
    const char *const folder = folder_new();
    equinv_context *const ctx = context_new();
    rng r = {91};
    equinv_tensor z = tensor_random(ctx, &r, EQUINV_F32, 3, 6, 2, 4), codes;
    OK(equinv_tensor_save(ctx, at(folder, "z.npy"), &z));
    equinv_projection_desc desc = EQUINV_PROJECTION_DESC_INIT;
    desc.fields = 2, desc.k = 3;
    desc.kind = EQUINV_PROJECT_CDF, desc.thresholds = thresholds, desc.threshold_count = 3;
    codes = projected(ctx, &desc, &z, NULL);
    SUCCEEDS(RUN(folder, "project", "z.npy", "-o", "c.npy", "--group", "C4", "--kind", "cdf", "-k",
                 "3", "--thresholds", "-0.5,1e-3,2"));
    assert_file_is(ctx, at(folder, "c.npy"), &codes);
    equinv_tensor_destroy(ctx, &codes);
    desc.thresholds = NULL, desc.threshold_count = 0;
    desc.kind = EQUINV_PROJECT_SORTED, desc.ranks = ranks, desc.rank_count = 2;
    codes = projected(ctx, &desc, &z, NULL);
    SUCCEEDS(RUN(folder, "project", "z.npy", "-o", "c.npy", "--group", "C4", "--kind", "sorted",
                 "-k", "3", "--ranks", "0,3"));
    assert_file_is(ctx, at(folder, "c.npy"), &codes);
    equinv_tensor_destroy(ctx, &codes), equinv_tensor_destroy(ctx, &z);
    equinv_context_destroy(ctx);
    folder_remove(folder);
}
END_TEST

START_TEST(project_accepts_every_shape_of_latents)
{
    const char *const folder = folder_new();
    equinv_context *const ctx = context_new();
    rng r = {17};
    equinv_tensor maps = tensor_random(ctx, &r, EQUINV_F32, 5, 4, 3, 4, 2, 2);
    equinv_tensor vectors = tensor_random(ctx, &r, EQUINV_F32, 3, 4, 3, 4);
    equinv_tensor bytes = tensor_random(ctx, &r, EQUINV_U8, 3, 4, 3, 4);
    equinv_tensor view, codes;
    equinv_projection_desc desc = EQUINV_PROJECTION_DESC_INIT;
    desc.fields = 3, desc.height = 2, desc.width = 2;
    desc.templates = EQUINV_TEMPLATE_ORTHONORMAL, desc.k = 2;
    codes = projected(ctx, &desc, &maps, NULL);
    OK(equinv_tensor_save(ctx, at(folder, "z5.npy"), &maps));
    OK(equinv_tensor_init(maps.data, EQUINV_F32, 4, (int64_t[]){4, 12, 2, 2}, &view));
    OK(equinv_tensor_save(ctx, at(folder, "z4.npy"), &view));
    const char *const with_space[] = {"z5.npy", "z4.npy"};
    for (int i = 0; i < 2; i++) {
        SUCCEEDS(RUN(folder, "project", with_space[i], "-o", "c.npy", "--group", "C4", "-k", "2",
                     "--templates", "orthonormal", "--threads", "1", "--device", "cpu"));
        assert_file_is(ctx, at(folder, "c.npy"), &codes);
    }
    equinv_tensor_destroy(ctx, &codes);

    desc.height = desc.width = 1;
    codes = projected(ctx, &desc, &vectors, NULL);
    OK(equinv_tensor_save(ctx, at(folder, "z3.npy"), &vectors));
    OK(equinv_tensor_init(vectors.data, EQUINV_F32, 2, (int64_t[]){4, 12}, &view));
    OK(equinv_tensor_save(ctx, at(folder, "z2.npy"), &view));
    const char *const without[] = {"z3.npy", "z2.npy"};
    for (int i = 0; i < 2; i++) {
        SUCCEEDS(RUN(folder, "project", without[i], "-o", "c.npy", "--group", "C4", "-k", "2",
                     "--templates", "orthonormal", "--impl", "ref"));
        equinv_tensor_destroy(ctx, &codes);
        desc.impl = "ref";
        codes = projected(ctx, &desc, &vectors, NULL);
        assert_file_is(ctx, at(folder, "c.npy"), &codes);
    }
    equinv_tensor_destroy(ctx, &codes);

    /* Integers become f32. */
    equinv_tensor real = tensor_as(ctx, &bytes, EQUINV_F32);
    desc.impl = NULL, desc.kind = EQUINV_PROJECT_MAX, desc.templates = EQUINV_TEMPLATE_GAUSSIAN;
    codes = projected(ctx, &desc, &real, NULL);
    OK(equinv_tensor_save(ctx, at(folder, "b.npy"), &bytes));
    SUCCEEDS(RUN(folder, "project", "b.npy", "-o", "c.npy", "--group", "C4", "-k", "2", "--kind",
                 "max"));
    assert_file_is(ctx, at(folder, "c.npy"), &codes);
    equinv_tensor_destroy(ctx, &codes), equinv_tensor_destroy(ctx, &real);
    equinv_tensor_destroy(ctx, &bytes), equinv_tensor_destroy(ctx, &vectors);
    equinv_tensor_destroy(ctx, &maps);
    equinv_context_destroy(ctx);
    folder_remove(folder);
}
END_TEST

START_TEST(project_rows_under_permutations)
{
    const char *const folder = folder_new();
    equinv_context *const ctx = context_new();
    rng r = {3};
    equinv_tensor z = tensor_random(ctx, &r, EQUINV_F64, 3, 6, 5, 2), view;
    equinv_tensor present = tensor_random(ctx, &r, EQUINV_U8, 2, 6, 5);
    for (int64_t i = 0; i < 30; i++)
        tensor_set(&present, i, tensor_get(&present, i) > 4);
    equinv_tensor integers = tensor_as(ctx, &present, EQUINV_U32);
    OK(equinv_tensor_save(ctx, at(folder, "z.npy"), &z));
    OK(equinv_tensor_save(ctx, at(folder, "m.npy"), &present));
    OK(equinv_tensor_save(ctx, at(folder, "m32.npy"), &integers));
    OK(equinv_tensor_init(z.data, EQUINV_F64, 2, (int64_t[]){6, 10}, &view));
    OK(equinv_tensor_save(ctx, at(folder, "flat.npy"), &view));

    equinv_projection_desc desc = EQUINV_PROJECTION_DESC_INIT;
    desc.kind = EQUINV_PROJECT_SORT, desc.group = equinv_symmetric(), desc.dtype = EQUINV_F64;
    desc.rows = 5, desc.channels = 2;
    equinv_tensor codes = projected(ctx, &desc, &z, &present);
    SUCCEEDS(RUN(folder, "project", "z.npy", "-o", "c.npy", "--group", "S", "--kind", "sort",
                 "--mask", "m.npy"));
    assert_file_is(ctx, at(folder, "c.npy"), &codes);
    equinv_tensor_destroy(ctx, &codes);

    /* The kind implies the group. */
    desc.kind = EQUINV_PROJECT_PROJECT_SORT, desc.k = 3, desc.fill = -1.5;
    codes = projected(ctx, &desc, &z, &present);
    SUCCEEDS(RUN(folder, "project", "z.npy", "-o", "c.npy", "--kind", "project-sort", "--k", "3",
                 "--mask", "m32.npy", "--fill", "-1.5"));
    assert_file_is(ctx, at(folder, "c.npy"), &codes);
    equinv_tensor_destroy(ctx, &codes);

    /* One channel may have no axis, and gets none. */
    desc.kind = EQUINV_PROJECT_SORT, desc.rows = 10, desc.channels = 1;
    codes = projected(ctx, &desc, &view, NULL);
    codes.ndim = 2;
    SUCCEEDS(RUN(folder, "project", "flat.npy", "-o", "c.npy", "--kind", "sort"));
    assert_file_is(ctx, at(folder, "c.npy"), &codes);
    codes.ndim = 3;
    equinv_tensor_destroy(ctx, &codes), equinv_tensor_destroy(ctx, &integers);
    equinv_tensor_destroy(ctx, &present), equinv_tensor_destroy(ctx, &z);
    equinv_context_destroy(ctx);
    folder_remove(folder);
}
END_TEST

START_TEST(project_of_an_empty_batch)
{
    const char *const folder = folder_new();
    equinv_context *const ctx = context_new();
    equinv_tensor z = tensor_new(ctx, EQUINV_F32, 3, 0, 3, 4), codes;
    equinv_tensor rows = tensor_new(ctx, EQUINV_F64, 3, 0, 3, 2);
    OK(equinv_tensor_save(ctx, at(folder, "z.npy"), &z));
    OK(equinv_tensor_save(ctx, at(folder, "rows.npy"), &rows));
    for (int i = 0; i < KINDS; i++) {
        const bool finite = i < FINITE_KINDS;
        SUCCEEDS(RUN(folder, "project", finite ? "z.npy" : "rows.npy", "-o", "c.npy", "--group",
                     finite ? "C4" : "S", "--kind", kinds[i].word, "--k", "6"));
        OK(equinv_tensor_load(ctx, at(folder, "c.npy"), &codes));
        ck_assert_int_eq(codes.shape[0], 0);
        const bool templates = finite ? kinds[i].kind < EQUINV_PROJECT_POWER
                                      : kinds[i].kind == EQUINV_PROJECT_PROJECT_SORT;
        ck_assert_int_eq(codes.shape[1], templates ? 6 : 3);
        ck_assert_int_eq(codes.dtype, finite ? EQUINV_F32 : EQUINV_F64);
        equinv_tensor_destroy(ctx, &codes);
    }
    equinv_tensor_destroy(ctx, &rows), equinv_tensor_destroy(ctx, &z);
    equinv_context_destroy(ctx);
    folder_remove(folder);
}
END_TEST

/* Larger than two chunks, by whatever rows a chunk has: 20 MB of latents. */
static equinv_tensor save_large(equinv_context *ctx, const char *folder)
{
    rng r = {23};
    equinv_tensor z = tensor_random(ctx, &r, EQUINV_F32, 3, 4801, 260, 4);
    OK(equinv_tensor_save(ctx, at(folder, "z.npy"), &z));
    return z;
}

START_TEST(project_in_chunks_through_files_and_pipes)
{
    const char *const folder = folder_new();
    equinv_context *const ctx = context_new();
    equinv_tensor z = save_large(ctx, folder);
    equinv_projection_desc desc = EQUINV_PROJECTION_DESC_INIT;
    char command[3 * PATH_MAX];
    desc.fields = 260, desc.k = 3;
    equinv_tensor codes = projected(ctx, &desc, &z, NULL);
    SUCCEEDS(RUN(folder, "project", "z.npy", "-o", "c.npy", "--group", "C4", "--k", "3"));
    assert_file_is(ctx, at(folder, "c.npy"), &codes);
    snprintf(command, sizeof command,
             "cd '%s' && cat z.npy | '%s' project /dev/stdin -o /dev/stdout --group C4 --k 3 "
             "2>piped.err | cat >piped.npy && ! test -s piped.err",
             folder, program());
    ck_assert_int_eq(system(command), 0);
    assert_file_is(ctx, at(folder, "piped.npy"), &codes);
    /* Standard output that is a file, and standard input that is one. */
    snprintf(command, sizeof command,
             "cd '%s' && '%s' project /dev/stdin -o /dev/stdout --group C4 --k 3 <z.npy "
             ">direct.npy",
             folder, program());
    ck_assert_int_eq(system(command), 0);
    assert_file_is(ctx, at(folder, "direct.npy"), &codes);
    ck_assert_int_eq(files_in(folder), 5);
    equinv_tensor_destroy(ctx, &codes), equinv_tensor_destroy(ctx, &z);
    equinv_context_destroy(ctx);
    folder_remove(folder);
}
END_TEST

static const struct {
    const char *const *arguments;
    const char *words;
} misuses[] = {
    {ARGUMENTS("-o", "c.npy", "--group", "C4"), "no file of latents was given"},
    {ARGUMENTS("z.npy", "--group", "C4"), "-o is missing"},
    {ARGUMENTS("z.npy", "-o", "c.npy"), "--group is missing"},
    {ARGUMENTS("z.npy", "y.npy", "-o", "c.npy", "--group", "C4"), "unexpected argument \"y.npy\""},
    {ARGUMENTS("z.npy", "-o", "c.npy", "--group", "Q4"), "--group: "},
    {ARGUMENTS("z.npy", "-o", "c.npy", "--group", "c4"), "\"c4\""},
    {ARGUMENTS("z.npy", "-o", "c.npy", "--group", "C4", "--kind", "Linear"),
     "--kind is \"Linear\", expected one of: linear, max, mean, mean-relu, mean-abs, "
     "mean-square, sorted, orbit, min, moment3, cdf, sort, project-sort, power, bispectrum, "
     "bispectrum-full, triple, fourier"},
    {ARGUMENTS("z.npy", "-o", "c.npy", "--group", "C4", "--kind", "cdf", "--thresholds", "1,x"),
     "--thresholds is \"x\", expected a number"},
    {ARGUMENTS("z.npy", "-o", "c.npy", "--group", "C4", "--kind", "sorted", "--ranks", "0,1.5"),
     "--ranks has 1.5, expected whole numbers from 0"},
    {ARGUMENTS("z.npy", "-o", "c.npy", "--group", "C4", "--k", "0"),
     "--k is \"0\", expected a whole number from 1 to 1099511627776"},
    {ARGUMENTS("z.npy", "-o", "c.npy", "--group", "C4", "--k", "64x"), "--k is \"64x\""},
    {ARGUMENTS("z.npy", "-o", "c.npy", "--group", "C4", "--k", " 64"), "--k is \" 64\""},
    {ARGUMENTS("z.npy", "-o", "c.npy", "--group", "C4", "--k", ""), "--k is \"\""},
    {ARGUMENTS("z.npy", "-o", "c.npy", "--group", "C4", "--k", "0x10"), "--k is \"0x10\""},
    {ARGUMENTS("z.npy", "-o", "c.npy", "--group", "C4", "--k", "99999999999999999999"),
     "--k is \"99999999999999999999\""},
    {ARGUMENTS("z.npy", "-o", "c.npy", "--group", "C4", "--seed", "-1"),
     "--seed is \"-1\", expected a whole number from 0 to 18446744073709551615"},
    {ARGUMENTS("z.npy", "-o", "c.npy", "--group", "C4", "--seed", ""), "--seed is \"\""},
    {ARGUMENTS("z.npy", "-o", "c.npy", "--group", "S", "--fill", ""), "--fill is \"\""},
    {ARGUMENTS("z.npy", "-o", "c.npy", "--group", "C4", "--seed", "18446744073709551616"),
     "--seed is \"18446744073709551616\""},
    {ARGUMENTS("z.npy", "-o", "c.npy", "--group", "C4", "--templates", "user"),
     "expected one of: gaussian, rademacher, orthonormal, sparse, hadamard"},
    {ARGUMENTS("z.npy", "-o", "c.npy", "--group", "S", "--fill", "1,5"),
     "--fill is \"1,5\", expected a number"},
    {ARGUMENTS("z.npy", "-o", "c.npy", "--group", "S", "--fill", "1e999"), "--fill is"},
    {ARGUMENTS("z.npy", "-o", "c.npy", "--group", "C4", "--device", "gpu"),
     "--device is \"gpu\", expected one of: auto, cpu, cuda"},
    {ARGUMENTS("z.npy", "-o", "c.npy", "--group", "C4", "--threads", "1025"),
     "--threads is \"1025\", expected a whole number from 0 to 1024"},
    {ARGUMENTS("z.npy", "-o", "c.npy", "--group", "C4", "--mask", "m.npy"),
     "--mask is for --group S"},
    {ARGUMENTS("z.npy", "-o"), "option requires an argument"},
};

START_TEST(project_wrong_usage)
{
    const char *const folder = folder_new();
    write_text(folder, "z.npy", "not looked at");
    for (size_t i = 0; i < sizeof misuses / sizeof *misuses; i++) {
        const outcome *const o = run_list(folder, "project", misuses[i].arguments);
        FAILS_WITH(o, USAGE, misuses[i].words);
        SAYS(o->err, "equinv: project: ");
        SAYS(o->err, "\nTry 'equinv project --help'.\n");
        ck_assert_int_eq(files_in(folder), 1);
    }
    folder_remove(folder);
}
END_TEST

/* Saves latents [4, 3, 4] f32 as z.npy. */
static void save_small(equinv_context *ctx, const char *folder)
{
    rng r = {5};
    equinv_tensor z = tensor_random(ctx, &r, EQUINV_F32, 3, 4, 3, 4);
    OK(equinv_tensor_save(ctx, at(folder, "z.npy"), &z));
    equinv_tensor_destroy(ctx, &z);
}

static const struct {
    const char *const *arguments;
    const char *words;
} refusals[] = {
    {ARGUMENTS("none.npy", "-o", "c.npy", "--group", "C4"), "none.npy"},
    {ARGUMENTS(".", "-o", "c.npy", "--group", "C4"), "directory"},
    {ARGUMENTS("text.npy", "-o", "c.npy", "--group", "C4"), "text.npy"},
    {ARGUMENTS("short.npy", "-o", "c.npy", "--group", "C4"), "short.npy"},
    {ARGUMENTS("long.npy", "-o", "c.npy", "--group", "C4"), "long.npy"},
    {ARGUMENTS("z.npy", "-o", "c.npy", "--group", "D4"),
     "z.npy has shape [4, 3, 4], expected [B, fields, 8]"},
    {ARGUMENTS("flat.npy", "-o", "c.npy", "--group", "C8"), "flat.npy has shape [4, 12], expected"},
    {ARGUMENTS("one.npy", "-o", "c.npy", "--group", "C4"),
     "one.npy has shape [4], expected [B, fields, 4], [B, fields, 4, H, W]"},
    {ARGUMENTS("one.npy", "-o", "c.npy", "--group", "S", "--kind", "sort"),
     "one.npy has shape [4], expected [B, rows, channels] or [B, rows] (group S)"},
    {ARGUMENTS("wide.npy", "-o", "c.npy", "--group", "C4"), "height"},
    {ARGUMENTS("z.npy", "-o", "c.npy", "--group", "C4", "--kind", "sort"), "group"},
    {ARGUMENTS("z.npy", "-o", "c.npy", "--group", "S", "--kind", "linear"), "group"},
    {ARGUMENTS("z.npy", "-o", "c.npy", "--group", "C4", "--impl", "magic"), "magic"},
    {ARGUMENTS("z.npy", "-o", "c.npy", "--group", "C4", "--device", "cuda"), "cuda"},
    {ARGUMENTS("z.npy", "-o", "c.npy", "--group", "C4", "--templates", "orthonormal", "--k", "4"),
     "k is 4"},
    {ARGUMENTS("z.npy", "-o", "z.npy", "--group", "C4"), "z.npy is read and would be replaced"},
    {ARGUMENTS("link.npy", "-o", "z.npy", "--group", "C4"), "is read and would be replaced"},
    {ARGUMENTS("z.npy", "-o", "link.npy", "--group", "C4"), "is read and would be replaced"},
    {ARGUMENTS("z.npy", "-o", "m.npy", "--mask", "m.npy", "--kind", "sort"),
     "m.npy is read and would be replaced"},
    {ARGUMENTS("z.npy", "-o", "c.npy", "--mask", "z.npy", "--kind", "sort"),
     "z.npy has element type f32, expected integers or booleans"},
    {ARGUMENTS("z.npy", "-o", "c.npy", "--mask", "m.npy", "--kind", "sort"),
     "m.npy has shape [4, 5], expected [4, 3] like the rows of z.npy"},
    {ARGUMENTS("z.npy", "-o", "no/folder/c.npy", "--group", "C4"), "no/folder"},
    {ARGUMENTS("z.npy", "-o", ".", "--group", "C4"), "."},
    {ARGUMENTS("z.npy", "-o", "/proc/equinv.npy", "--group", "C4"), "/proc"},
    {ARGUMENTS("z.npy", "-o", "/dev/full", "--group", "C4"), "No space left"},
};

START_TEST(project_refusals_leave_everything_as_it_was)
{
    enum { FILES = 9 };
    const char *const folder = folder_new();
    equinv_context *const ctx = context_new();
    equinv_tensor flat = tensor_new(ctx, EQUINV_F32, 2, 4, 12),
                  one = tensor_new(ctx, EQUINV_F32, 1, 4);
    equinv_tensor mask = tensor_new(ctx, EQUINV_I32, 2, 4, 5);
    equinv_tensor wide = tensor_new(ctx, EQUINV_F32, 5, 2, 1, 4, 2, 3);
    char text[64];
    save_small(ctx, folder);
    OK(equinv_tensor_save(ctx, at(folder, "flat.npy"), &flat));
    OK(equinv_tensor_save(ctx, at(folder, "short.npy"), &flat));
    OK(equinv_tensor_save(ctx, at(folder, "long.npy"), &flat));
    OK(equinv_tensor_save(ctx, at(folder, "one.npy"), &one));
    OK(equinv_tensor_save(ctx, at(folder, "m.npy"), &mask));
    OK(equinv_tensor_save(ctx, at(folder, "wide.npy"), &wide));
    write_text(folder, "text.npy", "This is no array.");
    ck_assert(truncate(at(folder, "short.npy"), 200) == 0);
    ck_assert(truncate(at(folder, "long.npy"), 1000) == 0);
    ck_assert(symlink("z.npy", at(folder, "link.npy")) == 0);
    for (int existing = 0; existing < 2; existing++) {
        if (existing)
            write_text(folder, "c.npy", "what was there");
        for (size_t i = 0; i < sizeof refusals / sizeof *refusals; i++) {
            const outcome *const o = run_list(folder, "project", refusals[i].arguments);
            FAILS_WITH(o, REFUSED, refusals[i].words);
            ck_assert_msg(strncmp(o->err, "equinv: project: ", 17) == 0, "%s", o->err);
            ck_assert_msg(strcmp(strchr(o->err, '\n'), "\n") == 0, "not one line: %s", o->err);
            ck_assert_int_eq(files_in(folder), FILES + existing);
            if (existing) {
                read_text(folder, "c.npy", text, sizeof text);
                ck_assert_str_eq(text, "what was there");
            }
        }
    }
    equinv_tensor_destroy(ctx, &wide), equinv_tensor_destroy(ctx, &mask);
    equinv_tensor_destroy(ctx, &one), equinv_tensor_destroy(ctx, &flat);
    equinv_context_destroy(ctx);
    folder_remove(folder);
}
END_TEST

START_TEST(project_asks_the_environment_for_the_device)
{
    const char *const folder = folder_new();
    equinv_context *const ctx = context_new();
    const setup cuda = {.name = "EQUINV_BACKEND", .set = "cuda"};
    const setup comma = {.name = "LC_ALL", .set = "de_DE.UTF-8"};
    save_small(ctx, folder);
    FAILS_WITH(RUN_WITH(folder, cuda, "project", "z.npy", "-o", "c.npy", "--group", "C4"), REFUSED,
               "EQUINV_BACKEND asks for cuda");
    SUCCEEDS(RUN_WITH(folder, cuda, "project", "z.npy", "-o", "c.npy", "--group", "C4", "--device",
                      "cpu"));
    /* No locale changes how numbers are read. */
    SUCCEEDS(RUN_WITH(folder, comma, "project", "z.npy", "-o", "c.npy", "--group", "S", "--kind",
                      "sort", "--fill", "1.5"));
    equinv_context_destroy(ctx);
    folder_remove(folder);
}
END_TEST

START_TEST(project_replaces_a_file_only_when_done)
{
    const char *const folder = folder_new();
    equinv_context *const ctx = context_new();
    const setup full = {.largest_file = 20000};
    char text[64];
    equinv_tensor z = save_large(ctx, folder), codes;
    equinv_tensor_destroy(ctx, &z);
    /* The disk is full after some chunks. */
    FAILS_WITH(
        RUN_WITH(folder, full, "project", "z.npy", "-o", "c.npy", "--group", "C4", "--k", "3"),
        REFUSED, "File too large");
    ck_assert_int_eq(files_in(folder), 1);
    write_text(folder, "c.npy", "what was there");
    FAILS_WITH(
        RUN_WITH(folder, full, "project", "z.npy", "-o", "c.npy", "--group", "C4", "--k", "3"),
        REFUSED, "c.npy");
    read_text(folder, "c.npy", text, sizeof text);
    ck_assert_str_eq(text, "what was there");
    ck_assert_int_eq(files_in(folder), 2);
    SUCCEEDS(RUN(folder, "project", "z.npy", "-o", "c.npy", "--group", "C4", "--k", "3"));
    OK(equinv_tensor_load(ctx, at(folder, "c.npy"), &codes));
    ck_assert_int_eq(codes.shape[0], 4801);
    ck_assert_int_eq(files_in(folder), 2);
    equinv_tensor_destroy(ctx, &codes);
    equinv_context_destroy(ctx);
    folder_remove(folder);
}
END_TEST

START_TEST(project_without_permission)
{
    const char *const folder = folder_new();
    equinv_context *const ctx = context_new();
    const setup nobody = {.nobody = true};
    save_small(ctx, folder);
    ck_assert(chmod(folder, 0755) == 0 && mkdir(at(folder, "closed"), 0500) == 0);
    const outcome *o =
        RUN_WITH(folder, nobody, "project", "z.npy", "-o", "closed/c.npy", "--group", "C4");
    if (o->code == CANNOT_START) {
        SKIP("root may write everywhere, and others may not start the program");
    } else {
        FAILS_WITH(o, REFUSED, "Permission denied");
        ck_assert(chmod(at(folder, "z.npy"), 0) == 0);
        FAILS_WITH(RUN_WITH(folder, nobody, "project", "z.npy", "-o", "c.npy", "--group", "C4"),
                   REFUSED, "z.npy could not be opened: Permission denied");
    }
    ck_assert_int_eq(files_in(folder), 2);
    ck_assert_int_eq(files_in(at(folder, "closed")), 0);
    equinv_context_destroy(ctx);
    folder_remove(folder);
}
END_TEST

START_TEST(project_into_a_pipe_that_nobody_reads)
{
    const char *const folder = folder_new();
    equinv_context *const ctx = context_new();
    const setup closed = {.closed_pipe = true};
    save_small(ctx, folder);
    FAILS_WITH(RUN_WITH(folder, closed, "project", "z.npy", "-o", "/dev/stdout", "--group", "C4"),
               REFUSED, "Broken pipe");
    equinv_context_destroy(ctx);
    folder_remove(folder);
}
END_TEST

/* ---- report --------------------------------------------------------------------------------- */

/* The number behind "key": in the part of a JSON text that follows "section"; NaN for null. */
static double json_number_at(const char *text, const char *section, const char *key)
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

static bool equal_numbers(double a, double b)
{
    return a == b || (isnan(a) && isnan(b));
}

#define HAS_NUMBER(text, section, key, expected)                                                   \
    ck_assert_msg(equal_numbers(json_number_at(text, section, key), (double)(expected)),           \
                  "%s is %.17g, expected %.17g", key, json_number_at(text, section, key),          \
                  (double)(expected))

static void has_code(const char *text, const char *section, const equinv_report_code *code)
{
    HAS_NUMBER(text, section, "invariance_error", code->invariance_error);
    HAS_NUMBER(text, section, "within", code->within);
    HAS_NUMBER(text, section, "between", code->between);
    HAS_NUMBER(text, section, "distortion_min", code->distortion_min);
    HAS_NUMBER(text, section, "distortion_max", code->distortion_max);
    HAS_NUMBER(text, section, "knn_accuracy", code->knn_accuracy);
    HAS_NUMBER(text, section, "own_nearest", code->own_nearest);
}

/* Latents [40, 3, 4] and labels of three classes, as files. */
static void save_labelled(equinv_context *ctx, const char *folder, equinv_tensor *z,
                          equinv_tensor *labels)
{
    rng r = {31};
    *z = tensor_random(ctx, &r, EQUINV_F32, 3, 40, 3, 4);
    *labels = tensor_new(ctx, EQUINV_I32, 1, 40);
    for (int i = 0; i < 40; i++)
        tensor_set(labels, i, i % 3);
    OK(equinv_tensor_save(ctx, at(folder, "z.npy"), z));
    OK(equinv_tensor_save(ctx, at(folder, "labels.npy"), labels));
}

START_TEST(report_as_json_has_the_librarys_figures)
{
    const bool labelled = _i == 1;
    const char *const folder = folder_new();
    equinv_context *const ctx = context_new();
    equinv_tensor z, labels;
    equinv_projection_desc desc = EQUINV_PROJECTION_DESC_INIT;
    equinv_report_desc report_desc = EQUINV_REPORT_DESC_INIT;
    equinv_projection *projection;
    equinv_report report;
    save_labelled(ctx, folder, &z, &labels);
    desc.fields = 3, desc.kind = EQUINV_PROJECT_MAX, desc.k = 7, desc.seed = 9;
    report_desc.seed = 9, report_desc.sample = 30, report_desc.neighbours = 3;
    equinv_tensor error = tensor_new(ctx, EQUINV_F64, 2, 2, 4);
    OK(equinv_projection_create(ctx, &desc, &projection));
    OK(equinv_report_compute(projection, &z, labelled ? &labels : NULL, &report_desc, &report,
                             &error));
    const outcome *const o =
        labelled
            ? RUN(folder, "report", "z.npy", "--group", "C4", "--kind", "max", "--k", "7", "--seed",
                  "9", "--sample", "30", "--neighbours", "3", "--json", "--labels", "labels.npy")
            : RUN(folder, "report", "z.npy", "--group", "C4", "--kind", "max", "--k", "7", "--seed",
                  "9", "--sample", "30", "--neighbours", "3", "--json");
    SUCCEEDS(o);
    HAS_NUMBER(o->out, NULL, "latents", 40);
    HAS_NUMBER(o->out, NULL, "sampled", 30);
    HAS_NUMBER(o->out, NULL, "dimension", 12);
    HAS_NUMBER(o->out, NULL, "code_dimension", 7);
    HAS_NUMBER(o->out, NULL, "order", 4);
    HAS_NUMBER(o->out, NULL, "rank", report.rank);
    HAS_NUMBER(o->out, NULL, "kept_variance", report.kept_variance);
    HAS_NUMBER(o->out, NULL, "label_chance", report.label_chance);
    ck_assert(isnan(report.label_chance) == !labelled);
    has_code(o->out, "raw", &report.raw);
    has_code(o->out, "projected", &report.projected);
    SAYS(o->out, "\"group\": \"C4\", \"order\": 4, \"kind\": \"max\", \"k\": 7");
    for (int code = 0; code < 2; code++) {
        const char *list = strstr(o->out, code ? "\"projected\": " : "\"raw\": ");
        list = strstr(list, "\"invariance_error_by_element\": [") + 32;
        for (int g = 0; g < 4; g++) {
            char *end;
            const double value = strtod(list, &end);
            ck_assert(value == tensor_get(&error, code * 4 + g));
            list = end + 1;
        }
    }
    ck_assert_msg(strcmp(strchr(o->out, '\n'), "\n") == 0, "more than one line: %s", o->out);
    equinv_projection_destroy(projection);
    equinv_tensor_destroy(ctx, &error), equinv_tensor_destroy(ctx, &labels);
    equinv_tensor_destroy(ctx, &z);
    equinv_context_destroy(ctx);
    folder_remove(folder);
}
END_TEST

START_TEST(report_as_a_table)
{
    static const char *const lines[] = {
        "latents        40 of 12 numbers; 40 in pairwise figures",
        "group          C4, 4 elements",
        "projection     linear, 64 templates (gaussian, seed 0), codes of 64 numbers",
        "fixed by group 3 of 12 dimensions, which keep 0.",
        "invariance error e ",
        "invariance error r ",
        "invariance error r^2 ",
        "invariance error r^3 ",
        "inside orbits ",
        "between orbits ",
        "5-NN accuracy ",
        "commonest class ",
        "Raw latents of one orbit lie ",
    };
    const char *const folder = folder_new();
    equinv_context *const ctx = context_new();
    equinv_tensor z, labels;
    save_labelled(ctx, folder, &z, &labels);
    const outcome *o = RUN(folder, "report", "z.npy", "--group", "C4", "--labels", "labels.npy");
    SUCCEEDS(o);
    for (size_t i = 0; i < sizeof lines / sizeof *lines; i++)
        ck_assert_msg(has_line(o->out, lines[i]), "no line \"%s\" in:\n%s", lines[i], o->out);
    SAYS(o->out, "Turned queries find their class in ");

    o = RUN(folder, "report", "z.npy", "--group", "D2", "--kind", "orbit");
    SUCCEEDS(o);
    ck_assert(has_line(o->out, "invariance error r f "));
    ck_assert(has_line(o->out, "invariance error f "));
    SAYS(o->out, "they are not invariant");
    ck_assert(strstr(o->out, "accuracy") == NULL);

    /* Many elements: the table stops, the object does not. */
    rng r = {43};
    equinv_tensor many = tensor_random(ctx, &r, EQUINV_F32, 2, 6, 64);
    OK(equinv_tensor_save(ctx, at(folder, "many.npy"), &many));
    o = RUN(folder, "report", "many.npy", "--group", "C32");
    SUCCEEDS(o);
    ck_assert(has_line(o->out, "invariance error r^15 "));
    ck_assert(!has_line(o->out, "invariance error r^16 "));
    ck_assert(has_line(o->out, "  and 16 more elements (--json has them)"));
    equinv_tensor_destroy(ctx, &many);

    /* Nothing to compare, and nothing finite: sentences of their own, no "nan" in sight. */
    for (int alike = 0; alike < 2; alike++) {
        equinv_tensor odd = tensor_new(ctx, EQUINV_F64, 2, 6, 4);
        for (int i = 0; i < 24; i++)
            tensor_set(&odd, i, alike ? 1 : (double)NAN);
        OK(equinv_tensor_save(ctx, at(folder, "odd.npy"), &odd));
        o = RUN(folder, "report", "odd.npy", "--group", "C4");
        SUCCEEDS(o);
        SAYS(o->out, alike ? "are alike; there are no distances" : "are not finite");
        SAYS(o->out, "which keep - of the variance");
        ck_assert_msg(strstr(o->out, "nan") == NULL, "nan in: %s", o->out);
        equinv_tensor_destroy(ctx, &odd);
    }
    equinv_tensor_destroy(ctx, &labels), equinv_tensor_destroy(ctx, &z);
    equinv_context_destroy(ctx);
    folder_remove(folder);
}
END_TEST

START_TEST(report_takes_labels_as_idx_or_npy)
{
    const char *const folder = folder_new();
    equinv_context *const ctx = context_new();
    equinv_tensor z, labels;
    uint8_t bytes[40];
    char first[16384];
    save_labelled(ctx, folder, &z, &labels);
    for (int i = 0; i < 40; i++)
        bytes[i] = (uint8_t)tensor_get(&labels, i);
    save_idx(at(folder, "labels-idx1-ubyte"), 1, (int[]){40}, bytes);
    const outcome *o =
        RUN(folder, "report", "z.npy", "--group", "C4", "--labels", "labels.npy", "--json");
    SUCCEEDS(o);
    strcpy(first, o->out);
    o = RUN(folder, "report", "z.npy", "--group", "C4", "--labels", "labels-idx1-ubyte", "--json");
    SUCCEEDS(o);
    ck_assert_str_eq(o->out, first);
    equinv_tensor_destroy(ctx, &labels), equinv_tensor_destroy(ctx, &z);
    equinv_context_destroy(ctx);
    folder_remove(folder);
}
END_TEST

static const struct {
    const char *const *arguments;
    int code;
    const char *words;
} report_refusals[] = {
    {ARGUMENTS("--group", "C4"), USAGE, "no file of latents was given"},
    {ARGUMENTS("z.npy"), USAGE, "--group is missing"},
    {ARGUMENTS("z.npy", "z.npy", "--group", "C4"), USAGE, "unexpected argument \"z.npy\""},
    {ARGUMENTS("z.npy", "--group", "C4", "--sample", "1"), USAGE,
     "--sample is \"1\", expected a whole number from 2 to 2147483647"},
    {ARGUMENTS("z.npy", "--group", "C4", "--neighbours", "0"), USAGE, "--neighbours is \"0\""},
    {ARGUMENTS("z.npy", "--group", "C4", "--labels", "z.npy"), REFUSED,
     "z.npy has element type f32, expected integers"},
    {ARGUMENTS("z.npy", "--group", "C4", "--labels", "few.npy"), REFUSED,
     "few.npy has shape [39], expected [40], a label for every latent of z.npy"},
    {ARGUMENTS("z.npy", "--group", "C4", "--labels", "none.npy"), REFUSED, "none.npy"},
    {ARGUMENTS("z.npy", "--group", "S", "--kind", "sort"), REFUSED, "S"},
    {ARGUMENTS("z.npy", "--group", "D4"), REFUSED, "z.npy has shape [40, 3, 4], expected"},
    {ARGUMENTS("none.npy", "--group", "C4"), REFUSED, "none.npy"},
};

START_TEST(report_refuses_with_a_sentence)
{
    const char *const folder = folder_new();
    equinv_context *const ctx = context_new();
    equinv_tensor z, labels, few;
    save_labelled(ctx, folder, &z, &labels);
    OK(equinv_tensor_rows(&labels, 0, 39, &few));
    OK(equinv_tensor_save(ctx, at(folder, "few.npy"), &few));
    for (size_t i = 0; i < sizeof report_refusals / sizeof *report_refusals; i++)
        FAILS_WITH(run_list(folder, "report", report_refusals[i].arguments),
                   report_refusals[i].code, report_refusals[i].words);
    equinv_tensor_destroy(ctx, &labels), equinv_tensor_destroy(ctx, &z);
    equinv_context_destroy(ctx);
    folder_remove(folder);
}
END_TEST

/* ---- neighbours ----------------------------------------------------------------------------- */

START_TEST(neighbours_are_the_librarys)
{
    enum { K = 3 };
    const char *const folder = folder_new();
    equinv_context *const ctx = context_new();
    rng r = {77};
    const bool symmetric = _i == 1;
    const equinv_group group = symmetric ? equinv_symmetric() : equinv_cyclic(4);
    equinv_tensor data = tensor_random(ctx, &r, EQUINV_F32, 3, 90, 3, 4);
    equinv_tensor queries = tensor_random(ctx, &r, EQUINV_F32, 3, 70, 3, 4);
    equinv_tensor index = tensor_new(ctx, EQUINV_I32, 2, 70, K), got_index, got_distance;
    equinv_tensor distance = tensor_new(ctx, EQUINV_F32, 2, 70, K);
    OK(equinv_tensor_save(ctx, at(folder, "data.npy"), &data));
    OK(equinv_tensor_save(ctx, at(folder, "queries.npy"), &queries));
    OK(equinv_neighbours(ctx, group, &data, &queries, K, &distance, &index));
    const outcome *const o =
        RUN(folder, "neighbours", "data.npy", "queries.npy", "--group", symmetric ? "S" : "C4",
            "--k", "3", "-o", "index.npy", "--distances", "distance.npy", "--json");
    SUCCEEDS(o);
    SAYS(o->out, symmetric ? "\"group\": \"S\", \"data\": 90, \"queries\": 70, \"k\": 3"
                           : "\"group\": \"C4\", \"data\": 90, \"queries\": 70, \"k\": 3");
    OK(equinv_tensor_load(ctx, at(folder, "index.npy"), &got_index));
    OK(equinv_tensor_load(ctx, at(folder, "distance.npy"), &got_distance));
    ASSERT_SAME(&got_index, &index);
    ASSERT_SAME(&got_distance, &distance);
    equinv_tensor *const all[] = {&data, &queries, &index, &distance, &got_index, &got_distance};
    for (int i = 0; i < 6; i++)
        equinv_tensor_destroy(ctx, all[i]);
    equinv_context_destroy(ctx);
    folder_remove(folder);
}
END_TEST

static const struct {
    const char *const *arguments;
    int code;
    const char *words;
} neighbours_refusals[] = {
    {ARGUMENTS("z.npy", "--group", "C4", "-o", "i.npy"), USAGE, "two files were expected"},
    {ARGUMENTS("z.npy", "z.npy", "--group", "C4"), USAGE, "-o is missing"},
    {ARGUMENTS("z.npy", "z.npy", "-o", "i.npy"), USAGE, "--group is missing"},
    {ARGUMENTS("z.npy", "z.npy", "--group", "Q8", "-o", "i.npy"), USAGE, "Q8"},
    {ARGUMENTS("z.npy", "z.npy", "--group", "C4", "-o", "i.npy", "--k", "0"), USAGE,
     "--k is \"0\""},
    {ARGUMENTS("z.npy", "z.npy", "--group", "C4", "-o", "i.npy", "--k", "41"), REFUSED,
     "--k is 41, expected at most the 40 latents of z.npy"},
    {ARGUMENTS("z.npy", "z.npy", "--group", "C4", "-o", "z.npy"), REFUSED, "would be replaced"},
    {ARGUMENTS("z.npy", "labels.npy", "--group", "C4", "-o", "i.npy"), REFUSED,
     "labels.npy has shape [40], expected rows like those of z.npy, [40, 3, 4]"},
    {ARGUMENTS("none.npy", "z.npy", "--group", "C4", "-o", "i.npy"), REFUSED, "none.npy"},
};

START_TEST(neighbours_refuses_with_a_sentence)
{
    const char *const folder = folder_new();
    equinv_context *const ctx = context_new();
    equinv_tensor z, labels;
    save_labelled(ctx, folder, &z, &labels);
    for (size_t i = 0; i < sizeof neighbours_refusals / sizeof *neighbours_refusals; i++) {
        FAILS_WITH(run_list(folder, "neighbours", neighbours_refusals[i].arguments),
                   neighbours_refusals[i].code, neighbours_refusals[i].words);
        ck_assert(access(at(folder, "i.npy"), F_OK) != 0);
    }
    equinv_tensor_destroy(ctx, &labels), equinv_tensor_destroy(ctx, &z);
    equinv_context_destroy(ctx);
    folder_remove(folder);
}
END_TEST

/* ---- train and extract ---------------------------------------------------------------------- */

static bool has_cjson(void)
{
    return strstr(equinv_build_info(), "cjson: yes") != NULL;
}

/* Images of height x width with a block (class 0) or a line (class 1) and noise; labels. */
static void save_examples(const char *folder, const char *images, const char *labels, int count,
                          int height, int width)
{
    uint8_t *const pixels = calloc((size_t)(count * height * width), 1);
    uint8_t *const classes = calloc((size_t)count, 1);
    rng r = {(uint64_t)count};
    ck_assert(pixels && classes);
    for (int i = 0; i < count; i++) {
        const int line = i % 2;
        classes[i] = (uint8_t)line;
        for (int y = 0; y < height; y++)
            for (int x = 0; x < width; x++) {
                const bool on =
                    line ? x == width / 2 : abs(x - width / 2) + abs(y - height / 2) < 3;
                pixels[(i * height + y) * width + x] = (uint8_t)(200 * on + rng_range(&r, 0, 50));
            }
    }
    save_idx(at(folder, images), 3, (int[]){count, height, width}, pixels);
    save_idx(at(folder, labels), 1, &count, classes);
    free(pixels);
    free(classes);
}

#define TRAIN_IMAGES "train-images-idx3-ubyte"
#define TRAIN_LABELS "train-labels-idx1-ubyte"
#define TEST_IMAGES "t10k-images-idx3-ubyte"
#define TEST_LABELS "t10k-labels-idx1-ubyte"
enum { DATA_FILES = 4 };

/* 64 training and 21 test images of 8 x 8. */
static void save_data(const char *folder)
{
    save_examples(folder, TRAIN_IMAGES, TRAIN_LABELS, 64, 8, 8);
    save_examples(folder, TEST_IMAGES, TEST_LABELS, 21, 8, 8);
}

#define SMALL_NETWORK "--fields", "2,3,2,4", "--batch", "10", "--learning-rate", "0.02"

/* Share of test images that the saved model names rightly, by the library. */
static double accuracy_of(equinv_context *ctx, const char *folder, const char *model_name)
{
    equinv_model *model;
    equinv_tensor images, labels, logits;
    int right = 0;
    OK(equinv_model_load(ctx, at(folder, model_name), &model));
    OK(equinv_tensor_load(ctx, at(folder, TEST_IMAGES), &images));
    OK(equinv_tensor_load(ctx, at(folder, TEST_LABELS), &labels));
    OK(equinv_model_forward(model, false, &images, &logits));
    ck_assert_int_eq(logits.shape[1], 2);
    for (int64_t i = 0; i < 21; i++)
        right += (tensor_get(&logits, 2 * i + 1) > tensor_get(&logits, 2 * i)) ==
                 (tensor_get(&labels, i) > 0);
    equinv_tensor_destroy(ctx, &labels), equinv_tensor_destroy(ctx, &images);
    equinv_model_destroy(model);
    return right / 21.0;
}

START_TEST(train_saves_what_it_reports)
{
    const char *const folder = folder_new();
    equinv_context *const ctx = context_new();
    save_data(folder);
    const outcome *o = RUN(folder, "train", ".", "-o", "m.safetensors", "--epochs", "6", "--seed",
                           "4", "--json", SMALL_NETWORK);
    SUCCEEDS(o);
    HAS_NUMBER(o->out, NULL, "train_images", 64);
    HAS_NUMBER(o->out, NULL, "test_images", 21);
    HAS_NUMBER(o->out, NULL, "batch", 10);
    HAS_NUMBER(o->out, NULL, "seed", 4);
    /* lift 2 x 25, conv2 3 x 2 x 4 x 25, conv3 2 x 3 x 4 x 9, conv4 4 x 2 x 4 x 9; gamma and beta;
     * dense 2 x 4 + 2 */
    HAS_NUMBER(o->out, NULL, "parameters", 50 + 600 + 216 + 288 + 2 * 11 + 10);
    SAYS(o->out, "{\"group\": \"C4\", \"fields\": [2, 3, 2, 4], ");
    const double first = json_number_at(o->out, NULL, "loss");
    const double accuracy = json_number_at(o->out, NULL, "test_accuracy");
    ck_assert(first > 0 && first < 5);
    ck_assert_msg(accuracy > 0.9, "accuracy %g of blocks against lines", accuracy);
    ck_assert_int_eq(files_in(folder), DATA_FILES + 1);
    if (has_cjson())
        ck_assert(accuracy_of(ctx, folder, "m.safetensors") == accuracy);
    else
        SKIP("the saved model is not loaded: this build has no cJSON");
    equinv_context_destroy(ctx);
    folder_remove(folder);
}
END_TEST

/* Whole contents, for comparison. */
static bool same_contents(const char *a, const char *b)
{
    FILE *const fa = fopen(a, "rb"), *const fb = fopen(b, "rb");
    int ca, cb;
    ck_assert(fa && fb);
    do {
        ca = fgetc(fa);
        cb = fgetc(fb);
    } while (ca == cb && ca != EOF);
    fclose(fa), fclose(fb);
    return ca == cb;
}

START_TEST(train_depends_on_seed_and_limit_alone)
{
    const char *const folder = folder_new();
    save_data(folder);
    const outcome *o = RUN(folder, "train", ".", "-o", "a", "--epochs", "1", SMALL_NETWORK);
    SUCCEEDS(o);
    ck_assert(has_line(o->out, "64 training and 21 test images of 8 x 8, 2 classes"));
    ck_assert(has_line(o->out, "group C4, fields 2, 3, 2, 4, "));
    ck_assert(has_line(o->out, "epoch   1   loss "));
    ck_assert(has_line(o->out, "test accuracy "));
    SUCCEEDS(RUN(folder, "train", ".", "-o", "b", "--epochs", "1", SMALL_NETWORK));
    SUCCEEDS(RUN(folder, "train", ".", "-o", "c", "--epochs", "1", "--seed", "1", SMALL_NETWORK));
    o = RUN(folder, "train", ".", "-o", "d", "--epochs", "1", "--limit", "40", "--group", "D4",
            SMALL_NETWORK);
    SUCCEEDS(o);
    ck_assert(has_line(o->out, "40 training and 21 test images of 8 x 8, 2 classes"));
    ck_assert(has_line(o->out, "group D4, "));
    ck_assert(same_contents(at(folder, "a"), at(folder, "b")));
    ck_assert(!same_contents(at(folder, "a"), at(folder, "c")));
    folder_remove(folder);
}
END_TEST

/* Whether two model files have the same learnable arrays, but for steps of 1e-30. */
static bool same_parameters(equinv_context *ctx, const char *a, const char *b)
{
    equinv_model *ma, *mb;
    const equinv_parameter *pa, *pb;
    size_t count, other;
    bool same = true;
    OK(equinv_model_load(ctx, a, &ma));
    OK(equinv_model_load(ctx, b, &mb));
    OK(equinv_model_parameters(ma, &pa, &count));
    OK(equinv_model_parameters(mb, &pb, &other));
    ck_assert(count == other && count > 0);
    for (size_t i = 0; i < count; i++)
        for (int64_t k = 0; k < equinv_tensor_count(&pa[i].value); k++)
            same &= fabs(tensor_get(&pa[i].value, k) - tensor_get(&pb[i].value, k)) < 1e-25;
    equinv_model_destroy(ma), equinv_model_destroy(mb);
    return same;
}

START_TEST(train_takes_first_weights_from_the_seed)
{
    const char *const folder = folder_new();
    equinv_context *const ctx = context_new();
    static const char *const names[] = {"a", "b", "c"}, *const seeds[] = {"5", "5", "6"},
                             *const batches[] = {"10", "7", "10"};
    save_data(folder);
    for (int i = 0; i < 3; i++) /* steps too small to change a weight */
        SUCCEEDS(RUN(folder, "train", ".", "-o", names[i], "--epochs", "1", "--seed", seeds[i],
                     "--batch", batches[i], "--fields", "1,2,1,2", "--learning-rate", "1e-30"));
    if (has_cjson()) {
        ck_assert(same_parameters(ctx, at(folder, "a"), at(folder, "b")));
        ck_assert(!same_parameters(ctx, at(folder, "a"), at(folder, "c")));
    } else {
        SKIP("models are not compared: this build has no cJSON");
    }
    /* What is saved are these weights and the statistics of the batches that were seen. */
    ck_assert(!same_contents(at(folder, "a"), at(folder, "b")));
    equinv_context_destroy(ctx);
    folder_remove(folder);
}
END_TEST

START_TEST(train_reads_gzipped_data)
{
    const char *const folder = folder_new();
    char command[2 * PATH_MAX];
    save_data(folder);
    SUCCEEDS(RUN(folder, "train", ".", "-o", "a", "--epochs", "1", SMALL_NETWORK));
    snprintf(command, sizeof command, "gzip '%s'/*ubyte", folder);
    if (!strstr(equinv_build_info(), "zlib: yes"))
        SKIP("this build has no zlib");
    else if (system(command) != 0)
        SKIP("gzip does not run here");
    else {
        SUCCEEDS(RUN(folder, "train", ".", "-o", "b", "--epochs", "1", SMALL_NETWORK));
        ck_assert(same_contents(at(folder, "a"), at(folder, "b")));
    }
    folder_remove(folder);
}
END_TEST

static const struct {
    const char *const *arguments;
    int code;
    const char *words;
} bad_trainings[] = {
    {ARGUMENTS("-o", "m"), USAGE, "no folder of data was given"},
    {ARGUMENTS("."), USAGE, "-o is missing"},
    {ARGUMENTS(".", "x", "-o", "m"), USAGE, "unexpected argument \"x\""},
    {ARGUMENTS(".", "-o", "m", "--epochs", "0"), USAGE, "--epochs is \"0\""},
    {ARGUMENTS(".", "-o", "m", "--batch", "many"), USAGE, "--batch is \"many\""},
    {ARGUMENTS(".", "-o", "m", "--limit", "-1"), USAGE, "--limit is \"-1\""},
    {ARGUMENTS(".", "-o", "m", "--learning-rate", "0"), USAGE,
     "--learning-rate is \"0\", expected a number above 0 and up to 1"},
    {ARGUMENTS(".", "-o", "m", "--learning-rate", "nan"), USAGE, "--learning-rate is \"nan\""},
    {ARGUMENTS(".", "-o", "m", "--fields", "8,16,16"), USAGE,
     "--fields is \"8,16,16\", expected 4 whole numbers like 8,16,16,16"},
    {ARGUMENTS(".", "-o", "m", "--fields", "8,16,16,16,16"), USAGE, "expected 4 whole numbers"},
    {ARGUMENTS(".", "-o", "m", "--fields", "8,,16,16"), USAGE, "--fields is \"\""},
    {ARGUMENTS(".", "-o", "m", "--fields", "8,x,16,16"), USAGE, "--fields is \"x\""},
    {ARGUMENTS(".", "-o", "m", "--group", "K4"), USAGE, "\"K4\""},
    {ARGUMENTS(".", "-o", "m", "--group", "C8"), REFUSED, "C8"},
    {ARGUMENTS("none", "-o", "m"), REFUSED, "none has neither train-images-idx3-ubyte nor"},
    {ARGUMENTS("part", "-o", "m"), REFUSED, "part has neither t10k-labels-idx1-ubyte nor"},
    {ARGUMENTS("oblong", "-o", "m"), REFUSED, "the images are 8 x 4, expected square ones"},
    {ARGUMENTS("odd", "-o", "m"), REFUSED, "the images are 6 x 6, expected square ones"},
    {ARGUMENTS("mixed", "-o", "m"), REFUSED, "the test images are 12 x 12, expected 8 x 8"},
    {ARGUMENTS("counts", "-o", "m"), REFUSED, "labels"},
    {ARGUMENTS(".", "-o", "no/m"), REFUSED, "no/m cannot be written: No such file"},
    {ARGUMENTS(".", "-o", "odd"), REFUSED, "odd is a folder"},
};

START_TEST(train_refuses_with_a_sentence)
{
    const char *const folder = folder_new();
    const struct {
        const char *name;
        int height, width, test_size;
    } folders[] = {{"part", 8, 8, 8},
                   {"oblong", 8, 4, 4},
                   {"odd", 6, 6, 6},
                   {"mixed", 8, 8, 12},
                   {"counts", 8, 8, 8}};
    save_data(folder);
    for (size_t i = 0; i < sizeof folders / sizeof *folders; i++) {
        const char *const inner = at(folder, folders[i].name);
        ck_assert(mkdir(inner, 0700) == 0);
        save_examples(inner, TRAIN_IMAGES, TRAIN_LABELS, 6, folders[i].height, folders[i].width);
        save_examples(inner, TEST_IMAGES, TEST_LABELS, 4, folders[i].test_size,
                      folders[i].test_size);
    }
    ck_assert(unlink(at(folder, "part/" TEST_LABELS)) == 0);
    save_idx(at(folder, "counts/" TRAIN_LABELS), 1, (int[]){5}, (uint8_t[]){0, 1, 0, 1, 0});
    for (size_t i = 0; i < sizeof bad_trainings / sizeof *bad_trainings; i++) {
        const outcome *const o = run_list(folder, "train", bad_trainings[i].arguments);
        GIVES(o, bad_trainings[i].code);
        SAYS(o->err, bad_trainings[i].words);
        SAYS(o->err, "equinv: train: ");
        ck_assert_int_eq(files_in(folder), DATA_FILES + 5);
    }
    folder_remove(folder);
}
END_TEST

START_TEST(train_on_a_full_disk)
{
    const char *const folder = folder_new();
    const setup full = {.largest_file = 1000};
    save_data(folder);
    FAILS_WITH(
        RUN_WITH(folder, full, "train", ".", "-o", "m", "--epochs", "1", "--json", SMALL_NETWORK),
        REFUSED, "File too large");
    ck_assert_int_eq(files_in(folder), DATA_FILES);
    folder_remove(folder);
}
END_TEST

START_TEST(train_interrupted)
{
    const char *const folder = folder_new();
    char text[4096];
    save_data(folder);
    const pid_t child =
        start(folder, &(setup){.in = NULL},
              ARGUMENTS("train", ".", "-o", "m.safetensors", "--epochs", "100000", SMALL_NETWORK));
    for (int i = 0; i < 1000; i++) {
        read_text(folder, ".out", text, sizeof text);
        if (strstr(text, "epoch   1"))
            break;
        nanosleep(&(struct timespec){0, 10000000}, NULL);
    }
    ck_assert(kill(child, SIGINT) == 0);
    const outcome *const o = finish(child, folder);
    GIVES(o, INTERRUPTED);
    ck_assert_str_eq(o->err, "equinv: train: interrupted\n");
    ck_assert_int_eq(files_in(folder), DATA_FILES);
    folder_remove(folder);
}
END_TEST

/* Data and a model of one short training; false without cJSON, which extraction needs. */
static bool save_model(const char *folder)
{
    save_data(folder);
    SUCCEEDS(RUN(folder, "train", ".", "-o", "m.safetensors", "--epochs", "1", SMALL_NETWORK));
    return has_cjson();
}

START_TEST(extract_equals_the_library)
{
    const char *const folder = folder_new();
    equinv_context *const ctx = context_new();
    equinv_model *model;
    equinv_projection *projection;
    equinv_tensor images, code = tensor_new(ctx, EQUINV_F32, 5, 21, 4, 4, 2, 2);
    equinv_tensor conv2 = tensor_new(ctx, EQUINV_F32, 5, 21, 3, 4, 4, 4);
    equinv_tensor sorted = tensor_new(ctx, EQUINV_F32, 3, 21, 5, 4);
    equinv_extract_desc desc = EQUINV_EXTRACT_DESC_INIT;
    equinv_projection_desc project = EQUINV_PROJECTION_DESC_INIT;
    if (!save_model(folder)) {
        FAILS_WITH(RUN(folder, "extract", "m.safetensors", TEST_IMAGES, "-o", "z.npy"), REFUSED,
                   "cJSON");
        ck_assert_int_eq(files_in(folder), DATA_FILES + 1);
        folder_remove(folder);
        return;
    }
    OK(equinv_model_load(ctx, at(folder, "m.safetensors"), &model));
    OK(equinv_tensor_load(ctx, at(folder, TEST_IMAGES), &images));

    OK(equinv_extract(model, &desc, &images, NULL, &code));
    SUCCEEDS(RUN(folder, "extract", "m.safetensors", TEST_IMAGES, "-o", "z.npy"));
    assert_file_is(ctx, at(folder, "z.npy"), &code);
    SUCCEEDS(RUN(folder, "extract", "m.safetensors", TEST_IMAGES, "-o", "z.npy", "--layer", "code",
                 "--batch", "4", "--device", "cpu"));
    assert_file_is(ctx, at(folder, "z.npy"), &code);

    desc.layer = "conv2";
    OK(equinv_extract(model, &desc, &images, NULL, &conv2));
    SUCCEEDS(RUN(folder, "extract", "m.safetensors", TEST_IMAGES, "-o", "z.npy", "--layer", "conv2",
                 "--threads", "1"));
    assert_file_is(ctx, at(folder, "z.npy"), &conv2);

    project.kind = EQUINV_PROJECT_SORTED, project.k = 5, project.seed = 3;
    OK(equinv_projection_create_for_layer(model, "conv2", &project, &projection));
    OK(equinv_extract(model, &desc, &images, projection, &sorted));
    SUCCEEDS(RUN(folder, "extract", "m.safetensors", TEST_IMAGES, "-o", "z.npy", "--layer", "conv2",
                 "--project", "sorted", "--k", "5", "--seed", "3"));
    assert_file_is(ctx, at(folder, "z.npy"), &sorted);

    /* NPY images, and the two steps one after the other. */
    OK(equinv_tensor_save(ctx, at(folder, "images.npy"), &images));
    SUCCEEDS(
        RUN(folder, "extract", "m.safetensors", "images.npy", "-o", "y.npy", "--layer", "conv2"));
    SUCCEEDS(RUN(folder, "project", "y.npy", "-o", "z.npy", "--group", "C4", "--kind", "sorted",
                 "--k", "5", "--seed", "3"));
    assert_file_is(ctx, at(folder, "z.npy"), &sorted);

    equinv_projection_destroy(projection);
    equinv_model_destroy(model);
    equinv_tensor_destroy(ctx, &sorted), equinv_tensor_destroy(ctx, &conv2);
    equinv_tensor_destroy(ctx, &code), equinv_tensor_destroy(ctx, &images);
    equinv_context_destroy(ctx);
    folder_remove(folder);
}
END_TEST

static const struct {
    const char *const *arguments;
    int code;
    const char *words;
} bad_extractions[] = {
    {ARGUMENTS("-o", "z.npy"), USAGE, "expected a model and a file of images, nothing was given"},
    {ARGUMENTS("m.safetensors", "-o", "z.npy"), USAGE, "one file was given"},
    {ARGUMENTS("m.safetensors", TEST_IMAGES), USAGE, "-o is missing"},
    {ARGUMENTS("m.safetensors", TEST_IMAGES, "x", "-o", "z.npy"), USAGE,
     "unexpected argument \"x\""},
    {ARGUMENTS("m.safetensors", TEST_IMAGES, "-o", "z.npy", "--k", "4"), USAGE,
     "need --project KIND"},
    {ARGUMENTS("m.safetensors", TEST_IMAGES, "-o", "z.npy", "--project", "sort"), USAGE,
     "--project is \"sort\", which sorts rows"},
    {ARGUMENTS("m.safetensors", TEST_IMAGES, "-o", "z.npy", "--project", "best"), USAGE,
     "--project is \"best\", expected one of: linear"},
    {ARGUMENTS("m.safetensors", TEST_IMAGES, "-o", "z.npy", "--batch", "0"), USAGE,
     "--batch is \"0\""},
    {ARGUMENTS("m.safetensors", TEST_IMAGES, "-o", "m.safetensors"), REFUSED,
     "m.safetensors is read and would be replaced"},
    {ARGUMENTS("m.safetensors", TEST_IMAGES, "-o", TEST_IMAGES), REFUSED,
     "is read and would be replaced"},
    {ARGUMENTS("none", TEST_IMAGES, "-o", "z.npy"), REFUSED, "none"},
    {ARGUMENTS(TEST_IMAGES, TEST_IMAGES, "-o", "z.npy"), REFUSED, TEST_IMAGES},
    {ARGUMENTS("m.safetensors", "none", "-o", "z.npy"), REFUSED, "none"},
    {ARGUMENTS("m.safetensors", TEST_LABELS, "-o", "z.npy"), REFUSED, "shape [21]"},
    {ARGUMENTS("m.safetensors", "m.safetensors", "-o", "z.npy"), REFUSED, "m.safetensors"},
    {ARGUMENTS("m.safetensors", TEST_IMAGES, "-o", "z.npy", "--layer", "conv9"), REFUSED, "conv9"},
    {ARGUMENTS("m.safetensors", TEST_IMAGES, "-o", "z.npy", "--layer", "dense", "--project", "max"),
     REFUSED, "dense"},
    {ARGUMENTS("m.safetensors", TEST_IMAGES, "-o", "no/z.npy"), REFUSED, "no/z.npy"},
};

START_TEST(extract_refuses_with_a_sentence)
{
    const char *const folder = folder_new();
    char text[64];
    if (!save_model(folder)) {
        SKIP("this build has no cJSON");
        folder_remove(folder);
        return;
    }
    for (int existing = 0; existing < 2; existing++) {
        if (existing)
            write_text(folder, "z.npy", "what was there");
        for (size_t i = 0; i < sizeof bad_extractions / sizeof *bad_extractions; i++) {
            FAILS_WITH(run_list(folder, "extract", bad_extractions[i].arguments),
                       bad_extractions[i].code, bad_extractions[i].words);
            ck_assert_int_eq(files_in(folder), DATA_FILES + 1 + existing);
        }
    }
    read_text(folder, "z.npy", text, sizeof text);
    ck_assert_str_eq(text, "what was there");
    folder_remove(folder);
}
END_TEST

START_TEST(extract_interrupted)
{
    const char *const folder = folder_new();
    if (!save_model(folder)) {
        SKIP("this build has no cJSON");
        folder_remove(folder);
        return;
    }
    /* 16,777,216 black images that take no room. */
    const unsigned char header[16] = {0, 0, 8, 3, 1, 0, 0, 0, 0, 0, 0, 8, 0, 0, 0, 8};
    FILE *const file = fopen(at(folder, "images"), "wb");
    ck_assert(file && fwrite(header, 1, 16, file) == 16 && fclose(file) == 0);
    ck_assert(truncate(at(folder, "images"), 16 + (INT64_C(16777216) << 6)) == 0);
    const pid_t child = start(folder, &(setup){.in = NULL},
                              ARGUMENTS("extract", "m.safetensors", "images", "-o", "z.npy",
                                        "--project", "linear", "--k", "1"));
    wait_for_files(folder, DATA_FILES + 3);
    ck_assert(kill(child, SIGTERM) == 0);
    FAILS_WITH(finish(child, folder), INTERRUPTED, "equinv: extract: interrupted\n");
    ck_assert_int_eq(files_in(folder), DATA_FILES + 2);
    folder_remove(folder);
}
END_TEST

/* ---- interruption --------------------------------------------------------------------------- */

static const int signals[] = {SIGINT, SIGTERM, SIGHUP};
enum { SIGNALS = sizeof signals / sizeof *signals };

START_TEST(project_interrupted)
{
    const char *const folder = folder_new();
    char text[64];
    save_sparse(folder);
    for (int existing = 0; existing < 2; existing++) {
        if (existing)
            write_text(folder, "c.npy", "what was there");
        const pid_t child = start(folder, &(setup){.in = NULL},
                                  ARGUMENTS("project", "z.npy", "-o", "c.npy", "--group", "C4"));
        wait_for_files(folder, 2 + existing);
        ck_assert(kill(child, signals[_i]) == 0);
        FAILS_WITH(finish(child, folder), INTERRUPTED, "equinv: project: interrupted\n");
        ck_assert_int_eq(files_in(folder), 1 + existing);
    }
    read_text(folder, "c.npy", text, sizeof text);
    ck_assert_str_eq(text, "what was there");
    folder_remove(folder);
}
END_TEST

/* ---- project --resume ----------------------------------------------------------------------- */

enum { RESUMED_ROWS = 6000, RESUMED_NUMBERS = 1200 };

/* Latents that ref needs some tenths of a second for, in four chunks; row 7 has NaN, row 300 an infinity. */
static void save_slow(equinv_context *ctx, const char *folder)
{
    rng r = {55};
    equinv_tensor z = tensor_random(ctx, &r, EQUINV_F32, 3, RESUMED_ROWS, 150, 8);
    tensor_set(&z, 7 * RESUMED_NUMBERS + 3, (double)NAN);
    tensor_set(&z, 300 * RESUMED_NUMBERS, (double)INFINITY);
    OK(equinv_tensor_save(ctx, at(folder, "z.npy"), &z));
    equinv_tensor_destroy(ctx, &z);
}

/* Codes are [6000, 4, 8] f32: 128 bytes a row behind a header of 128. */
#define SLOW(output, ...)                                                                          \
    ARGUMENTS("project", "z.npy", "-o", output, "--group", "D4", "--kind", "sorted", "-k", "4",    \
              "--impl", "ref", "--threads", "1", __VA_ARGS__)
enum { ROW_BYTES = 128, HEADER_BYTES = 128 };

static off_t size_of_file(const char *folder, const char *name)
{
    struct stat is;
    return stat(at(folder, name), &is) == 0 ? is.st_size : -1;
}

static void assert_same_bytes(const char *folder, const char *a, const char *b)
{
    static char bytes[2][HEADER_BYTES + RESUMED_ROWS * ROW_BYTES + 2];
    const char *const names[2] = {a, b};
    size_t length[2];
    for (int i = 0; i < 2; i++) {
        FILE *const file = fopen(at(folder, names[i]), "rb");
        ck_assert(file != NULL);
        length[i] = fread(bytes[i], 1, sizeof bytes[i], file);
        fclose(file);
    }
    ck_assert(length[0] == HEADER_BYTES + RESUMED_ROWS * ROW_BYTES && length[0] == length[1]);
    ck_assert(memcmp(bytes[0], bytes[1], length[0]) == 0);
}

#define ODD_ROWS "2 of 6000 rows of z.npy have NaN or infinity, the first is row 7 (from 0)"

START_TEST(project_resumes_after_it_was_killed)
{
    const char *const folder = folder_new();
    equinv_context *const ctx = context_new();
    save_slow(ctx, folder);
    const outcome *o =
        finish(start(folder, &(setup){.in = NULL}, SLOW("whole.npy", "--device", "cpu")), folder);
    GIVES(o, DONE);
    SAYS(o->err, ODD_ROWS);
    write_text(folder, "c.npy", "what was there");
    int killed = 0;
    off_t before = 0;
    for (int round = 0; round < 4; round++) {
        const pid_t child = start(folder, &(setup){.in = NULL}, SLOW("c.npy", "--resume"));
        int status;
        /* Until a few more rows are there, or it is done. */
        for (int i = 0; i < 30000 && size_of_file(folder, "c.npy") == 14 &&
                        size_of_file(folder, "c.npy.part") < before + 3 * ROW_BYTES;
             i++)
            nanosleep(&(struct timespec){0, 1000000}, NULL);
        kill(child, SIGKILL);
        ck_assert(waitpid(child, &status, 0) == child);
        if (!WIFSIGNALED(status) || size_of_file(folder, "c.npy") != 14) /* it was done already */
            break;
        killed++;
        before = size_of_file(folder, "c.npy.part");
        ck_assert(before >= HEADER_BYTES + 3 * ROW_BYTES);
        if (round == 1) /* in the middle of a row */
            ck_assert(truncate(at(folder, "c.npy.part"), before - ROW_BYTES / 3) == 0);
    }
    ck_assert_msg(killed >= 1, "it was never killed in time");
    o = finish(start(folder, &(setup){.in = NULL}, SLOW("c.npy", "--resume")), folder);
    GIVES(o, DONE);
    SAYS(o->err, ODD_ROWS);
    assert_same_bytes(folder, "c.npy", "whole.npy");
    ck_assert_int_eq(files_in(folder), 3);
    equinv_context_destroy(ctx);
    folder_remove(folder);
}
END_TEST

START_TEST(project_resumes_after_the_disk_was_full)
{
    const char *const folder = folder_new();
    equinv_context *const ctx = context_new();
    const setup full = {.largest_file = HEADER_BYTES + 2500 * ROW_BYTES + 70};
    const setup fuller = {.largest_file = HEADER_BYTES / 2};
    save_slow(ctx, folder);
    GIVES(finish(start(folder, &(setup){.in = NULL}, SLOW("whole.npy", "--device", "cpu")), folder),
          DONE);
    const setup *const disks[] = {&fuller, &full};
    for (int i = 0; i < 2; i++) {
        FAILS_WITH(finish(start(folder, disks[i], SLOW("c.npy", "--resume")), folder), REFUSED,
                   i ? "File too large" : "the text beside its"); /* so short is stderr, too */
        ck_assert(size_of_file(folder, "c.npy") < 0);
    }
    ck_assert(size_of_file(folder, "c.npy.part") > HEADER_BYTES + 2000 * ROW_BYTES);
    ck_assert_int_eq(files_in(folder), 4);
    GIVES(finish(start(folder, &(setup){.in = NULL}, SLOW("c.npy", "--resume")), folder), DONE);
    assert_same_bytes(folder, "c.npy", "whole.npy");
    ck_assert_int_eq(files_in(folder), 3);
    /* Without --resume nothing stays. */
    FAILS_WITH(finish(start(folder, &full, SLOW("d.npy", "--device", "cpu")), folder), REFUSED,
               "File too large");
    ck_assert_int_eq(files_in(folder), 3);
    equinv_context_destroy(ctx);
    folder_remove(folder);
}
END_TEST

START_TEST(project_resumes_its_own_files_alone)
{
    const char *const folder = folder_new();
    equinv_context *const ctx = context_new();
    const setup full = {.largest_file = HEADER_BYTES + 2500 * ROW_BYTES};
    save_slow(ctx, folder);
    GIVES(finish(start(folder, &full, SLOW("c.npy", "--resume")), folder), REFUSED);
    FAILS_WITH(finish(start(folder, &(setup){.in = NULL}, SLOW("c.npy", "--resume", "--seed", "1")),
                      folder),
               REFUSED, "c.npy.part was made from something else: \"kind: sorted, group D4, k 4");
    FAILS_WITH(
        finish(start(folder, &(setup){.in = NULL}, SLOW("c.npy", "--resume", "--ranks", "0")),
               folder),
        REFUSED, "c.npy.part was made from something else");
    ck_assert(utimensat(AT_FDCWD, at(folder, "z.npy"), (struct timespec[2]){{9, 0}, {9, 0}}, 0) ==
              0);
    FAILS_WITH(finish(start(folder, &(setup){.in = NULL}, SLOW("c.npy", "--resume")), folder),
               REFUSED, "c.npy.part was made from something else: \"latents: ");
    ck_assert(unlink(at(folder, "c.npy.part.txt")) == 0);
    FAILS_WITH(finish(start(folder, &(setup){.in = NULL}, SLOW("c.npy", "--resume")), folder),
               REFUSED, "c.npy.part has no c.npy.part.txt");
    ck_assert(size_of_file(folder, "c.npy.part") > HEADER_BYTES);
    ck_assert(unlink(at(folder, "c.npy.part")) == 0);
    GIVES(finish(start(folder, &(setup){.in = NULL}, SLOW("c.npy", "--resume")), folder), DONE);
    ck_assert_int_eq(files_in(folder), 2);
    FAILS_WITH(finish(start(folder, &(setup){.in = NULL}, SLOW("/dev/full", "--resume")), folder),
               REFUSED, "/dev/full is written through");
    FAILS_WITH(RUN(folder, "project", "/dev/null", "-o", "d.npy", "--group", "C4", "--resume"),
               REFUSED, "/dev/null");
    ck_assert_int_eq(files_in(folder), 2);
    equinv_context_destroy(ctx);
    folder_remove(folder);
}
END_TEST

START_TEST(project_saves_and_uses_projections)
{
    const char *const folder = folder_new();
    equinv_context *const ctx = context_new();
    rng r = {56};
    equinv_tensor z = tensor_random(ctx, &r, EQUINV_F32, 3, 30, 5, 8);
    OK(equinv_tensor_save(ctx, at(folder, "z.npy"), &z));
    SUCCEEDS(RUN(folder, "project", "z.npy", "-o", "c.npy", "--group", "D4", "--kind", "sorted",
                 "-k", "9", "--templates", "sparse", "--density", "0.2", "--ranks", "1,3",
                 "--scaled", "--save-projection", "p.safetensors"));
    const outcome *const o =
        RUN(folder, "project", "z.npy", "-o", "d.npy", "--projection", "p.safetensors");
    if (!has_cjson()) {
        FAILS_WITH(o, REFUSED, "cJSON");
    } else {
        equinv_tensor codes;
        SUCCEEDS(o);
        OK(equinv_tensor_load(ctx, at(folder, "c.npy"), &codes));
        ck_assert(codes.ndim == 3 && codes.shape[2] == 2);
        assert_file_is(ctx, at(folder, "d.npy"), &codes);
        equinv_tensor_destroy(ctx, &codes);
        FAILS_WITH(RUN(folder, "project", "c.npy", "-o", "d.npy", "--projection", "p.safetensors"),
                   REFUSED, "c.npy has shape");
        FAILS_WITH(RUN(folder, "project", "z.npy", "-o", "d.npy", "--projection", "p.safetensors",
                       "--kind", "max"),
                   USAGE, "--projection has group and kind");
        FAILS_WITH(RUN(folder, "project", "z.npy", "-o", "d.npy", "--projection", "z.npy"), REFUSED,
                   "z.npy");
    }
    equinv_tensor_destroy(ctx, &z);
    equinv_context_destroy(ctx);
    folder_remove(folder);
}
END_TEST

START_TEST(report_gives_advice_and_draws)
{
    const char *const folder = folder_new();
    equinv_context *const ctx = context_new();
    equinv_tensor z, labels;
    char text[8192];
    save_labelled(ctx, folder, &z, &labels);
    const outcome *o = RUN(folder, "report", "z.npy", "--group", "C2xC2", "--kind", "max", "-k",
                           "24", "--picture", "h.gp");
    SUCCEEDS(o);
    ck_assert(has_line(o->out, "own orbit nearest"));
    ck_assert(has_line(o->out, "invariance error 3"));
    SAYS(o->out, "Advice: --kind max -k 24: the orbit mean keeps 0.2");
    SAYS(o->out, "within 0.25 with 919 templates");
    read_text(folder, "h.gp", text, sizeof text);
    SAYS(text, "max, 24 templates: distances of codes / distances of orbits");
    /* Shares of all pairs. */
    const char *from = text;
    for (int row = 0; row < 2; row++) {
        double sum = 0;
        from = strstr(from, " << EOD\n") + 8;
        while (strncmp(from, "EOD", 3) != 0) {
            double x, share;
            ck_assert(sscanf(from, "%lf %lf", &x, &share) == 2);
            sum += share;
            from = strchr(from, '\n') + 1;
        }
        ck_assert_msg(fabs(sum - 1) < 1e-4, "%g", sum);
    }
    for (int64_t i = 0; i < equinv_tensor_count(&z); i++)
        tensor_set(&z, i, (double)(i / 4));
    OK(equinv_tensor_save(ctx, at(folder, "z.npy"), &z));
    o = RUN(folder, "report", "z.npy", "--group", "C4", "--distortion", "0.5");
    SUCCEEDS(o);
    SAYS(o->out, "Advice: --kind linear -k 3: the orbit mean keeps 1 of the variance in 3 of 12");
    FAILS_WITH(RUN(folder, "report", "z.npy", "--group", "C4", "--distortion", "1"), USAGE,
               "--distortion is \"1\", expected between 0 and 1");
    FAILS_WITH(RUN(folder, "report", "z.npy", "--group", "C4", "--picture", "no/h.gp"), REFUSED,
               "no/h.gp could not be written: No such file");
    equinv_tensor_destroy(ctx, &z), equinv_tensor_destroy(ctx, &labels);
    equinv_context_destroy(ctx);
    folder_remove(folder);
}
END_TEST

START_TEST(project_interrupted_while_its_input_stalls)
{
    const char *const folder = folder_new();
    unsigned char header[1000];
    int ends[2];
    save_sparse(folder);
    FILE *const file = fopen(at(folder, "z.npy"), "rb");
    ck_assert(file && fread(header, 1, sizeof header, file) == sizeof header);
    fclose(file);
    ck_assert(pipe(ends) == 0);
    ck_assert(write(ends[1], header, sizeof header) == sizeof header);
    const pid_t child = start(folder, &(setup){.in_fd = ends[0]},
                              ARGUMENTS("project", "/dev/stdin", "-o", "c.npy", "--group", "C4"));
    wait_for_files(folder, 2);
    ck_assert(kill(child, SIGINT) == 0);
    FAILS_WITH(finish(child, folder), INTERRUPTED, "equinv: project: interrupted\n");
    ck_assert_int_eq(files_in(folder), 1);
    close(ends[0]), close(ends[1]);
    folder_remove(folder);
}
END_TEST

/* ---- progress ------------------------------------------------------------------------------- */

/* A pseudo-terminal: *terminal is for the program, the other end is returned; -1 if there is none. */
static int open_terminal(int *terminal)
{
    const int end = posix_openpt(O_RDWR | O_NOCTTY);
    if (end < 0 || grantpt(end) != 0 || unlockpt(end) != 0)
        return -1;
    const char *const name = ptsname(end);
    *terminal = name ? open(name, O_RDWR | O_NOCTTY) : -1;
    return *terminal < 0 ? -1 : end;
}

static void read_terminal(int end, char *text, size_t size)
{
    size_t length = 0;
    for (ssize_t n; length < size - 1 && (n = read(end, text + length, size - 1 - length)) > 0;)
        length += (size_t)n;
    text[length] = '\0';
}

START_TEST(progress_is_shown_on_a_terminal)
{
    const char *const folder = folder_new();
    char text[16384];
    int terminal;
    const int end = open_terminal(&terminal);
    if (end < 0) {
        SKIP("no pseudo-terminal could be opened");
        folder_remove(folder);
        return;
    }
    equinv_context *const ctx = context_new();
    equinv_tensor z = save_large(ctx, folder);
    const pid_t child =
        start(folder, &(setup){.err_fd = terminal},
              ARGUMENTS("project", "z.npy", "-o", "c.npy", "--group", "C4", "--k", "3"));
    close(terminal);
    read_terminal(end, text, sizeof text);
    const outcome *const o = finish(child, folder);
    GIVES(o, DONE);
    ck_assert_str_eq(o->out, "");
    SAYS(text, "0 of 4801 rows (0 %)");
    SAYS(text, "4801 rows in ");
    SAYS(text, " rows/s");
    close(end);
    equinv_tensor_destroy(ctx, &z);
    equinv_context_destroy(ctx);
    folder_remove(folder);
}
END_TEST

START_TEST(report_interrupted)
{
    const char *const folder = folder_new();
    char text[16384];
    int terminal;
    const int end = open_terminal(&terminal);
    if (end < 0) {
        SKIP("no pseudo-terminal could be opened");
        folder_remove(folder);
        return;
    }
    equinv_context *const ctx = context_new();
    rng r = {41};
    equinv_tensor z = tensor_random(ctx, &r, EQUINV_F32, 3, 3000, 64, 4);
    OK(equinv_tensor_save(ctx, at(folder, "z.npy"), &z));
    const pid_t child = start(folder, &(setup){.err_fd = terminal},
                              ARGUMENTS("report", "z.npy", "--group", "C4", "--sample", "3000"));
    close(terminal);
    ck_assert(read(end, text, 1) == 1); /* it works on the figures now */
    ck_assert(kill(child, SIGINT) == 0);
    read_terminal(end, text, sizeof text);
    const outcome *const o = finish(child, folder);
    GIVES(o, INTERRUPTED);
    ck_assert_str_eq(o->out, "");
    SAYS(text, "equinv: report: interrupted");
    close(end);
    equinv_tensor_destroy(ctx, &z);
    equinv_context_destroy(ctx);
    folder_remove(folder);
}
END_TEST

int main(void)
{
    const test_entry tests[] = {
        {help_tells_what_there_is, 1},
        {every_command_has_help, COMMANDS},
        {version_is_the_librarys, 1},
        {unknown_words_are_wrong_usage, 1},
        {standard_output_that_fails_is_a_failure, 1},
        {info_always_works, 1},
        {info_as_json, 1},
        {project_kinds_of_finite_groups_equal_the_library, 2 * FINITE_KINDS},
        {project_accepts_every_shape_of_latents, 1},
        {project_takes_lists, 1},
        {project_resumes_after_it_was_killed, 1},
        {project_resumes_after_the_disk_was_full, 1},
        {project_resumes_its_own_files_alone, 1},
        {project_saves_and_uses_projections, 1},
        {report_gives_advice_and_draws, 1},
        {project_rows_under_permutations, 1},
        {project_of_an_empty_batch, 1},
        {project_in_chunks_through_files_and_pipes, 1},
        {project_wrong_usage, 1},
        {project_refusals_leave_everything_as_it_was, 1},
        {project_asks_the_environment_for_the_device, 1},
        {project_replaces_a_file_only_when_done, 1},
        {project_without_permission, 1},
        {project_into_a_pipe_that_nobody_reads, 1},
        {report_as_json_has_the_librarys_figures, 2},
        {report_as_a_table, 1},
        {report_takes_labels_as_idx_or_npy, 1},
        {neighbours_are_the_librarys, 2},
        {neighbours_refuses_with_a_sentence, 1},
        {report_refuses_with_a_sentence, 1},
        {train_saves_what_it_reports, 1},
        {train_depends_on_seed_and_limit_alone, 1},
        {train_takes_first_weights_from_the_seed, 1},
        {train_reads_gzipped_data, 1},
        {train_refuses_with_a_sentence, 1},
        {train_on_a_full_disk, 1},
        {train_interrupted, 1},
        {extract_equals_the_library, 1},
        {extract_refuses_with_a_sentence, 1},
        {extract_interrupted, 1},
        {project_interrupted, SIGNALS},
        {project_interrupted_while_its_input_stalls, 1},
        {progress_is_shown_on_a_terminal, 1},
        {report_interrupted, 1},
    };
    return run_tests("cli", tests, sizeof tests / sizeof *tests);
}
