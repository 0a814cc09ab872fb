/*
 * The program `equinv` as its users meet it: started as a process in a folder of its own, judged by
 * exit code, both outputs and the files that it leaves.
 */
#define _GNU_SOURCE /* PATH_MAX from limits.h */
#include <dirent.h>
#include <fcntl.h>
#include <limits.h>
#include <signal.h>
#include <sys/resource.h>
#include <sys/stat.h>
#include <sys/wait.h>
#include <unistd.h>

#include "tests/util/test.h"

enum { DONE = 0, REFUSED = 1, USAGE = 2, INTERRUPTED = 130 };

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
    const int in = open(s->in ? s->in : "/dev/null", O_RDONLY);
    const int out = open(s->out ? s->out : ".out", O_WRONLY | O_CREAT | O_TRUNC, 0600);
    const int err = open(".err", O_WRONLY | O_CREAT | O_TRUNC, 0600);
    if (in < 0 || out < 0 || err < 0)
        _exit(98);
    dup2(in, 0), dup2(out, 1), dup2(err, 2);
    close(in), close(out), close(err);
    unsetenv("EQUINV_BACKEND");
    unsetenv("EQUINV_VERBOSE");
    if (s->name)
        setenv(s->name, s->set, 1);
    if (s->largest_file)
        setrlimit(RLIMIT_FSIZE, &(struct rlimit){s->largest_file, s->largest_file});
    execv(program(), (char *const *)argv);
    _exit(97);
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
    ck_assert(waitpid(child, &status, 0) == child);
    o.code = WIFEXITED(status) ? WEXITSTATUS(status) : -1;
    read_text(folder, ".out", o.out, sizeof o.out);
    read_text(folder, ".err", o.err, sizeof o.err);
    return &o;
}

#define ARGUMENTS(...) ((const char *const[]){__VA_ARGS__, NULL})
#define RUN_WITH(folder, s, ...) finish(start(folder, &(s), ARGUMENTS(__VA_ARGS__)), folder)
#define RUN(folder, ...) finish(start(folder, &(setup){.in = NULL}, ARGUMENTS(__VA_ARGS__)), folder)

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

static const char *const commands[] = {"info"};
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
    FAILS_WITH(RUN(folder, "projekt"), USAGE, "equinv: \"projekt\" is no command; there are: info");
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

START_TEST(full_standard_output_is_a_failure)
{
    const char *const folder = folder_new();
    const setup full = {.out = "/dev/full"};
    const outcome *const o = RUN_WITH(folder, full, "--help");
    GIVES(o, REFUSED);
    SAYS(o->err, "standard output: No space left on device");
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

int main(void)
{
    const test_entry tests[] = {
        {help_tells_what_there_is, 1},
        {every_command_has_help, COMMANDS},
        {version_is_the_librarys, 1},
        {unknown_words_are_wrong_usage, 1},
        {full_standard_output_is_a_failure, 1},
        {info_always_works, 1},
        {info_as_json, 1},
    };
    return run_tests("cli", tests, sizeof tests / sizeof *tests);
}
