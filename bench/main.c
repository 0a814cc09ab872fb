#include <errno.h>
#include <signal.h>
#include <stdarg.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "bench/bench.h"

/* ---- messages, as tools/tool.h declares them ---------------------------------------------------- */

static const char *running;
static char place[160];

void message_place(const char *text)
{
    snprintf(place, sizeof place, "%s", text);
}

void tool_say(const char *format, va_list arguments)
{
    fflush(stdout);
    fputs("equinv-bench: ", stderr);
    if (running)
        fprintf(stderr, "%s: ", running);
    if (*place)
        fprintf(stderr, "%s: ", place);
    vfprintf(stderr, format, arguments);
    fputc('\n', stderr);
}

int tool_refused(void)
{
    return tool_fail("%s", equinv_last_error());
}

/* ---- the program --------------------------------------------------------------------------------- */

/*
 * Both make OpenBLAS run other kernels than it would choose, which halves it on newer CPUs. It reads
 * them before main, so the program starts itself again without them.
 */
static void start_without_handicap(char **argv)
{
    static const char *const names[] = {"OPENBLAS_CORETYPE", "OPENBLAS_L2_SIZE"};
    bool found = false;
    for (size_t i = 0; i < sizeof names / sizeof *names; i++) {
        found |= getenv(names[i]) != NULL;
        unsetenv(names[i]);
    }
    if (found)
        execv("/proc/self/exe",
              argv); /* where that fails, the peers are named with their kernels */
}

static int run_command(const char *name, int argc, char **argv)
{
    bench_case c;
    run_options options;
    case_defaults(&c);
    const int code = options_parse(argc, argv, &c, &options);
    if (code >= 0)
        return code;
    if (strcmp(name, "list") == 0)
        return run_list(&options);
    return run_cases(&options, argc, argv, strcmp(name, "perf") == 0);
}

static int choose_command(int argc, char **argv)
{
    static const char *const names[] = {"list", "check", "perf"};
    static char title[32];
    if (argc < 2)
        return tool_misused("no command was given; there are: list, check, perf");
    if (argv[1][0] == '-') { /* --help and --version without a command */
        const int code = run_command("", argc, argv);
        return code == TOOL_DONE || code == TOOL_USAGE
                   ? code
                   : tool_misused("no command was given; there are: list, check, perf");
    }
    for (size_t i = 0; i < sizeof names / sizeof *names; i++)
        if (strcmp(argv[1], names[i]) == 0) {
            running = names[i];
            snprintf(title, sizeof title, "equinv-bench: %s", names[i]);
            argv[1] = title; /* getopt begins its sentences with argv[0] */
            return run_command(names[i], argc - 1, argv + 1);
        }
    return tool_misused("\"%s\" is no command; there are: list, check, perf", argv[1]);
}

int main(int argc, char **argv)
{
    start_without_handicap(argv);
    signal(SIGPIPE, SIG_IGN);
    signal(SIGXFSZ, SIG_IGN);
    const int code = choose_command(argc, argv);
    if (code == TOOL_USAGE)
        fprintf(stderr, "Try 'equinv-bench --help'.\n");
    if (fflush(stdout) == 0 && !ferror(stdout))
        return code;
    const int error = errno;
    return code == TOOL_DONE ? tool_fail("standard output: %s", strerror(error)) : code;
}
