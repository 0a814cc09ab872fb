/*
 * The program `equinv` as its users meet it: started as a process in a folder of its own, judged by
 * exit code, both outputs and the files that it leaves.
 */
#ifndef TESTS_UTIL_COMMAND_H
#define TESTS_UTIL_COMMAND_H

#include <math.h>
#include <sys/resource.h>
#include <sys/types.h>

#include "tests/util/program.h"

enum { DONE = 0, REFUSED = 1, USAGE = 2, INTERRUPTED = 130, CANNOT_START = 97 };

/* ---- starting the program ------------------------------------------------------------------- */

typedef struct setup {
    const char *in, *out;   /* files for stdin and stdout; NULL: nothing, and caught */
    int in_fd;              /* instead of `in`; 0: not */
    bool closed_pipe;       /* stdout is a pipe that nobody reads any more */
    bool nobody;            /* without root's rights */
    int err_fd;             /* where stderr goes instead of being caught; 0: not */
    const char *name, *set; /* an environment variable */
    rlim_t largest_file;    /* RLIMIT_FSIZE; 0: none */
} setup;

/* Starts it in a folder with outputs into files there, which are hidden from `files_in`. */
pid_t start(const char *folder, const setup *s, const char *const *arguments);
void read_text(const char *folder, const char *name, char *text, size_t size);
/* Waits for its end, a minute at most; the code is -1 with a signal. */
const outcome *finish(pid_t child, const char *folder);

#define ARGUMENTS(...) ((const char *const[]){__VA_ARGS__, NULL})
#define RUN_WITH(folder, s, ...) finish(start(folder, &(s), ARGUMENTS(__VA_ARGS__)), folder)
#define RUN(folder, ...) finish(start(folder, &(setup){.in = NULL}, ARGUMENTS(__VA_ARGS__)), folder)

/* The same with the words after the command in an array. */
const outcome *run_list(const char *folder, const char *command, const char *const *arguments);

/* A refusal: code, sentence on stderr, nothing on stdout. */
#define FAILS_WITH(o, expected, words)                                                             \
    do {                                                                                           \
        const outcome *const o_ = (o);                                                             \
        GIVES(*o_, expected);                                                                      \
        SAYS(o_->err, words);                                                                      \
        ck_assert_str_eq(o_->out, "");                                                             \
    } while (0)

/* Done, and not a word on stderr. */
#define SUCCEEDS(o)                                                                                \
    do {                                                                                           \
        const outcome *const o_ = (o);                                                             \
        GIVES(*o_, DONE);                                                                          \
        ck_assert_str_eq(o_->err, "");                                                             \
    } while (0)

/* ---- folders and files ---------------------------------------------------------------------- */

const char *folder_new(void);
/* "name/path" in a buffer of its own for each of the last eight calls. */
const char *at(const char *folder, const char *name);
/* Number of files in a folder, but for those that catch outputs. */
int files_in(const char *folder);
void write_text(const char *folder, const char *name, const char *text);
void folder_remove(const char *folder);
/* Waits until a folder has that many files, ten seconds at most. */
void wait_for_files(const char *folder, int count);

/* IDX of u8: magic 0, 0, 8, axes, then extents and content. */
void save_idx(const char *path, int axes, const int *extents, const uint8_t *content);

/* ---- what it says --------------------------------------------------------------------------- */

/* One line of output begins with `start`. */
bool has_line(const char *text, const char *begin);

/* The number behind "key": in the part of a JSON text that follows "section"; NaN for null. */
double json_number_at(const char *text, const char *section, const char *key);

bool equal_numbers(double a, double b);
#define HAS_NUMBER(text, section, key, expected)                                                   \
    ck_assert_msg(equal_numbers(json_number_at(text, section, key), (double)(expected)),           \
                  "%s is %.17g, expected %.17g", key, json_number_at(text, section, key),          \
                  (double)(expected))

/* ---- what the library says ------------------------------------------------------------------ */

bool has_cjson(void);

/* What the library makes of latents with a description whose shape is filled in. */
equinv_tensor projected(equinv_context *ctx, const equinv_projection_desc *desc,
                        const equinv_tensor *latents, const equinv_tensor *mask);

/* The file holds exactly this: shape, type and bits. */
void assert_file_is(equinv_context *ctx, const char *path, const equinv_tensor *expected);

/* Larger than two chunks, by whatever rows a chunk has: 20 MB of latents. */
equinv_tensor save_large(equinv_context *ctx, const char *folder);

#endif
