/* A program of this build as its users meet it: started as a process, judged by what it writes. */
#ifndef TESTS_UTIL_PROGRAM_H
#define TESTS_UTIL_PROGRAM_H

#include "tests/util/files.h"
#include "tests/util/test.h"

typedef struct outcome {
    int code;
    const char *out, *err; /* overwritten by the next run; cut off after 64 KiB */
} outcome;

/* build/bin/<name>, from build/tests/<folder>/<test>; in one buffer. */
const char *program_path(const char *name);

/*
 * Runs build/bin/<name> in a folder of the test; arguments as a shell reads them, variables, e.g.
 * "NAME=value", in front. It writes the files `out` and `err` there.
 */
outcome program_run(const temp_folder *folder, const char *name, const char *variables,
                    const char *arguments);

/* What is shown of a text in a message: Check gives up on one of 8 KiB. */
#define SHOWN "%.2000s"

#define GIVES(o, expected)                                                                         \
    ck_assert_msg((o).code == (expected),                                                          \
                  "exit code %d, expected %d; stdout \"" SHOWN "\", stderr \"" SHOWN "\"",         \
                  (o).code, expected, (o).out, (o).err)
#define SAYS(text, words)                                                                          \
    ck_assert_msg(strstr(text, words) != NULL, "\"%s\" is not in \"" SHOWN "\"", words, text)

/* A JSON report that a program left in the folder, whole; free it. */
char *report_read(const temp_folder *folder, const char *name);

int count_of(const char *text, const char *words);
/* The number behind a key of the first object; fails where it is null or missing. */
double json_value(const char *text, const char *key);

#endif
