/* The program `equinv` as a whole: help, versions, wrong usage, `info`. */
#include "tests/util/command.h"

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
    GIVES(*o, REFUSED);
    ck_assert_str_eq(o->err, "equinv: standard output: No space left on device\n");
    o = RUN_WITH(folder, closed, "info");
    GIVES(*o, REFUSED);
    ck_assert_str_eq(o->err, "equinv: info: standard output: Broken pipe\n");
    o = RUN_WITH(folder, limited, "info", "--json");
    GIVES(*o, REFUSED);
    ck_assert_str_eq(o->err, "equinv: info: standard output: File too large\n");
    folder_remove(folder);
}
END_TEST

/* ---- info ----------------------------------------------------------------------------------- */

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
        {standard_output_that_fails_is_a_failure, 1},
        {info_always_works, 1},
        {info_as_json, 1},
    };
    return run_tests("cli", tests, sizeof tests / sizeof *tests);
}
