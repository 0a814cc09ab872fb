/*
 * The program `equinv`: what its commands share. Every command is a file tools/<command>.c with a
 * parser of its own arguments (argp) and a run function; it uses the library's public header alone.
 *
 * Text with numbers may use printf: the program never calls setlocale, so the decimal point is fixed.
 */
#ifndef TOOLS_TOOL_H
#define TOOLS_TOOL_H

#include <argp.h>
#include <inttypes.h>
#include <stdarg.h>
#include <stdio.h>

#include "equinv/equinv.h"

enum { TOOL_DONE = 0, TOOL_FAILED = 1, TOOL_USAGE = 2, TOOL_INTERRUPTED = 130 };

typedef struct command {
    const char *name;
    const char *purpose; /* one line for `equinv --help` */
    int (*run)(int argc, char **argv);
} command;

extern const command info_command, project_command, report_command, train_command, extract_command,
    neighbours_command;

/* ---- messages (complain.c; each program has its own tool_say and tool_refused) -------------- */

/* "equinv: <command>: sentence" on stderr, or as the program begins its sentences. */
void tool_say(const char *format, va_list arguments) __attribute__((format(printf, 1, 0)));

/* That, and TOOL_FAILED. */
int tool_fail(const char *format, ...) __attribute__((format(printf, 1, 2)));

/* The same for wrong usage: main adds a hint to --help; gives TOOL_USAGE. */
int tool_misused(const char *format, ...) __attribute__((format(printf, 1, 2)));

/* What a failed call of the library means: TOOL_FAILED with its sentence, or TOOL_INTERRUPTED. */
int tool_refused(void);

/*
 * Parses the arguments of a command; -1: go on, else the exit code. `--help` and `--version` are
 * answered here. The command's parser returns EINVAL after tool_misused.
 */
int tool_parse(const struct argp *argp, unsigned flags, int argc, char **argv, void *input);

/* ---- options (options.c) -------------------------------------------------------------------- */

/* A number, whole and in range; false after a message that names option, text and range. */
bool option_integer(const char *option, const char *text, int64_t low, int64_t high,
                    int64_t *value);
/* 0 .. 2^64 - 1. */
bool option_seed(const char *option, const char *text, uint64_t *value);
/* Any number that strtod reads ("inf" too). */
bool option_number(const char *option, const char *text, double *value);

/* One of a few words, and what it stands for; a list of them ends in a NULL name. */
typedef struct word {
    const char *name;
    int value;
} word;
bool option_word(const char *option, const char *text, const word *words, int *value);
const char *word_name(const word *words, int value);
extern const word kind_words[]; /* kinds of projections */

/*
 * A group by its name, "C4" or "C4xC2", or "table:FILE" and "generators:FILE" (group.c); false after a
 * message. group_text: as it was given, else (NULL) its name.
 */
bool option_group(const char *text, equinv_group *group);
const char *group_text(const char *given, equinv_group group, char *text, size_t size);
#define GROUP_HELP                                                                                 \
    "C1, C2, .. (turns), D1, D2, .. (turns and mirrors), products as C4xC2, S (permutations of "   \
    "rows); table:FILE, a group of your own by its products, integers [order, order], or "         \
    "generators:FILE, permutations that generate it, integers [count, degree]"

/* --device, --threads into an equinv_context_desc. */
extern const struct argp device_argp;

enum { LIST_MOST = 256 }; /* numbers in a list */

/* A projection as options describe it. */
typedef struct projection_options {
    equinv_projection_desc desc;
    const char *group; /* as it was given; NULL: it was not */
    bool kind_given, templates_given;
    double thresholds[LIST_MOST]; /* what the lists of desc point at */
    int32_t ranks[LIST_MOST];
} projection_options;
#define PROJECTION_OPTIONS_INIT                                                                    \
    {                                                                                              \
        EQUINV_PROJECTION_DESC_INIT, NULL, false, false, {0},                                      \
        {                                                                                          \
            0                                                                                      \
        }                                                                                          \
    }
extern const struct argp projection_argp; /* --group, --kind and the next */
extern const struct argp templates_argp;  /* --k, --seed, --templates, --scaled, --impl */

bool option_kind(const char *option, const char *text, equinv_projection_kind *kind);
const char *kind_name(equinv_projection_kind kind);
const char *templates_name(equinv_template_kind kind);

/* Whether the kind sorts rows under S. */
bool kind_of_rows(equinv_projection_kind kind);

/*
 * --group must be there, unless the kind says that it is S, and what the kind needs beside it. -1: go on, else
 * the exit code.
 */
int projection_group(projection_options *options);

/*
 * Fills in what a file of latents decides: dtype, fields, height, width, or rows and channels. -1: go
 * on, else the exit code, after a sentence that names the file and the shapes it may have.
 */
int projection_shape(const char *path, const equinv_tensor *array, equinv_projection_desc *desc);

/* Reads a file as real numbers: integers become f32. */
equinv_status load_real(equinv_context *ctx, const char *path, equinv_tensor *latents);

/*
 * Latents with NaN or infinity (odd.c): whether some numbers have none, the sentence that tells how many rows
 * do and what becomes of others, and both for a file in memory.
 */
bool is_finite(const equinv_tensor *t, int64_t first, int64_t count);
void tell_odd(const char *path, int64_t odd, int64_t rows, int64_t first, const char *others);
void count_odd(const char *path, const equinv_tensor *latents, const char *others);

/* "[2, 3]" */
const char *shape_text(int32_t ndim, const int64_t *shape, char *text, size_t size);

/* Both paths lead to one regular file: then the output would replace its own input. */
bool same_file(const char *a, const char *b);

/* ---- interruption and progress (progress.c) ------------------------------------------------- */

/*
 * From here on SIGINT, SIGTERM and SIGHUP set a flag that the command's loop and progress_step poll,
 * so that temporary files are removed on the way out.
 */
void tool_catch_signals(void);
bool tool_interrupted(void);

/*
 * One line on stderr with share, rate and time left, where stderr is a terminal; nothing otherwise.
 * progress_step is an equinv_progress and stops the call when the program was interrupted; user is
 * not used. progress_end replaces the line by a closing one, progress_clear removes it.
 */
void progress_start(const char *unit);
int progress_step(void *user, int64_t done, int64_t total);
void progress_end(void);
void progress_clear(void);

/* Seconds on a clock that only goes forward. */
double tool_seconds(void);

/* ---- JSON (json.c) -------------------------------------------------------------------------- */

/* Writes one value on one line; keys are NULL at the top and inside arrays. */
typedef struct json {
    FILE *file;
    int depth;
    char closing[8];
    bool filled[8];
} json;
void json_open(json *j, const char *key, char bracket); /* '{' or '[' */
void json_close(json *j);                               /* the innermost one */
void json_text(json *j, const char *key, const char *text);
void json_integer(json *j, const char *key, int64_t value);
void json_unsigned(json *j, const char *key, uint64_t value);
void json_number(json *j, const char *key, double value); /* shortest exact form; NaN, Inf: null */

#endif
