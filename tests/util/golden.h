/* The golden runner as a program, and the folders of cases that it is given. */
#ifndef TESTS_UTIL_GOLDEN_H
#define TESTS_UTIL_GOLDEN_H

#include "tests/util/files.h"

extern equinv_context *golden_ctx;
extern temp_folder golden_root; /* has the cases of a test */

/* False, with a SKIP, in a build whose runner cannot read case.json. */
bool golden_set_up(void);
void golden_tear_down(void);

/* ---- the runner ------------------------------------------------------------------------------- */

typedef struct golden_result {
    char text[16384];
    int status; /* exit status, -1 for a crash */
} golden_result;

golden_result golden_run_with(const char *arguments);
golden_result golden_run(void); /* on the folder of cases */

/* The line that begins so must be there, and end in a newline. */
#define HAS_LINE(r, beginning) golden_check_line(&(r), beginning, __LINE__)
void golden_check_line(const golden_result *r, const char *beginning, int line);

/* The closing line is the last one. */
#define ENDS(r, passed, failed, skipped, exit_status)                                              \
    do {                                                                                           \
        char expected_[96];                                                                        \
        snprintf(expected_, sizeof expected_, "%d passed, %d failed, %d skipped\n", passed,        \
                 failed, skipped);                                                                 \
        const size_t all_ = strlen((r).text), tail_ = strlen(expected_);                           \
        ck_assert_msg(all_ >= tail_ && strcmp((r).text + all_ - tail_, expected_) == 0,            \
                      "the last line should be %s: %s", expected_, (r).text);                      \
        ck_assert_int_eq((r).status, exit_status);                                                 \
    } while (0)

/* ---- making cases ----------------------------------------------------------------------------- */

const char *golden_in_case(const char *name, const char *file);
void golden_save(const char *name, const char *file, equinv_dtype dtype, int32_t ndim,
                 const int64_t *shape, const double *values);
void golden_save_json(const char *name, const char *text);
void golden_save_manifest(const char *text);
void golden_remove(const char *path); /* with all that is in it */

/* The group C2, right in every number; `stated` is the tolerance it asks for. */
void golden_group(const char *name, const char *stated);

/* The same with one number of the plane matrices changed. */
void golden_group_with(const char *name, const char *stated, double value);

/* Group pooling of one C2 field on a row of three pixels; `more` are further members of case.json. */
void golden_pool(const char *name, const char *more, const double src[6], const double dst[3]);

/*
 * One field of C1, a 1 x 1 kernel: dst = 3 src + bias. `arrays` are further entries beside src, psi
 * and dst; `more` further members.
 */
void golden_conv(const char *name, const char *more, const char *arrays, const double dst[2]);
#define REGULAR                                                                                    \
    "\"conv\": \"regular\", \"fields_in\": [[\"regular\", 1]], \"fields_out\": [[\"regular\", 1]]"
#define PSI ", \"psi\": {\"shape\": [1, 1, 1, 1, 1]}"
#define BIAS ", \"bias\": {\"shape\": [1]}"
#define EXPANDED ", \"expanded_bias\": {\"shape\": [1]}"

#endif
