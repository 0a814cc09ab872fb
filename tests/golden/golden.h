/*
 * The golden runner: compares the library with results computed elsewhere.
 *
 * A folder has one folder a case: case.json (kind, parameters, tolerance, shape of every array) and
 * one .npy an array. main.c finds the cases and prints a line for each, case_<kind>.c runs a kind,
 * compare.c reads arrays and compares. A kind is one row in main.c's table and one function here.
 *
 * A run function calls the want_ functions for what it needs and the compare_ functions for what it
 * got. What stops a case (a malformed file, a kind of field that is not built, a call that fails)
 * leaves the function at once through stop_case; everything made on the way is released.
 */
#ifndef TESTS_GOLDEN_H
#define TESTS_GOLDEN_H

#ifdef EQI_HAVE_CJSON
#include <cJSON.h>
#include <setjmp.h>

#include "tests/util/test.h"

typedef enum outcome { PASSED, FAILED, SKIPPED } outcome;

/* An array that case.json lists. */
typedef struct golden_array {
    const char *name;
    equinv_tensor values; /* data NULL until it is read */
    bool read, used;
} golden_array;

typedef struct golden_case {
    equinv_context *ctx;
    const char *name, *folder;
    cJSON *json;
    golden_array *arrays;
    size_t array_count;
    double stated; /* tolerance.rel of the case */
    char how[96];  /* dtype and implementation being tried, for sentences */
    equinv_dtype dtype;
    struct owned *owned;
    jmp_buf stop;
    outcome outcome;
    char reason[768];
    /* The comparison that came closest to its tolerance, or passed it farthest. */
    int64_t compared;
    double error, tolerance, ratio;
} golden_case;

/* Every kind is run in both. */
extern const equinv_dtype golden_dtypes[2];

/* Ends the case. FAILED and SKIPPED need a sentence. */
void stop_case(golden_case *c, outcome outcome, const char *format, ...)
    __attribute__((noreturn, format(printf, 3, 4)));
#define MALFORMED(c, ...) stop_case(c, FAILED, "malformed: " __VA_ARGS__)

/* A library call that must succeed. */
void check_call(golden_case *c, equinv_status status, const char *call);
#define TRY(c, call) check_call(c, call, #call)

/* Frees an object when the case ends. Plans that run in f32 are counted by their implementation. */
void own_plan(golden_case *c, equinv_plan *plan);
void own_object(golden_case *c, void *object, void (*destroy)(void *object));

/* ---- parameters from case.json; the wrong type, or none, is MALFORMED ------------------------- */

const cJSON *want_item(golden_case *c, const char *name);
int64_t want_int(golden_case *c, const char *name);
int64_t optional_int(golden_case *c, const char *name, int64_t fallback);
double want_number(golden_case *c, const char *name);
bool want_bool(golden_case *c, const char *name);
bool optional_bool(golden_case *c, const char *name, bool fallback);
const char *want_text(golden_case *c, const char *name);

/* C_n or D_n from a group's name; others are SKIPPED. */
equinv_group want_group(golden_case *c, const char *name);
int32_t order_of(equinv_group group);
/* SKIPPED unless the group is C1 C2 C4 D1 D2 or D4. */
void want_grid_group(golden_case *c, equinv_group group);

/* A list of fields, [["regular", 2], ["trivial", 1]]; neighbours of one kind are joined. */
enum { MAX_BLOCKS = 16 };
typedef struct field_list {
    int blocks;
    struct field_block {
        int64_t elements; /* |G| or 1 */
        int64_t fields;
        int64_t first_field, first_channel;
    } block[MAX_BLOCKS];
    int64_t fields, channels;
} field_list;
/* Other representations are SKIPPED. */
field_list want_fields(golden_case *c, const char *name, equinv_group group);

/* ---- arrays ----------------------------------------------------------------------------------- */

bool has_array(const golden_case *c, const char *name);
/* The array in the file's own element type, row-major. */
equinv_tensor want_array(golden_case *c, const char *name);
/* A copy in another element type. */
equinv_tensor want_as(golden_case *c, const char *name, equinv_dtype dtype);
/* MALFORMED unless the array has that many axes. */
equinv_tensor want_axes(golden_case *c, const char *name, int32_t ndim);

/* Row-major outputs that start as NaN (integers: -77), so that what is not written shows. */
equinv_tensor new_output(golden_case *c, equinv_dtype dtype, int32_t ndim, const int64_t *shape);
/* The same with the shape of a golden array. */
equinv_tensor new_output_like(golden_case *c, const char *name, equinv_dtype dtype);
/* A byte tensor for saved buffers and packed weights. */
equinv_tensor new_bytes(golden_case *c, size_t size);

/* Part of axis 1: channels first .. first+count-1. */
equinv_tensor channels_of(const equinv_tensor *tensor, int64_t first, int64_t count);
/* Parts of a map that belong to one block of fields, as [N, fields, elements, H, W]. */
equinv_tensor block_of(golden_case *c, const equinv_tensor *map, const struct field_block *block);

/* ---- comparison ------------------------------------------------------------------------------- */

/*
 * Compares with a golden array, element by element in row-major order: the largest difference
 * relative to the array's largest finite value against the tolerance for this array and dtype.
 * Infinities and integer arrays must agree exactly; a NaN on either side fails.
 */
void compare_array(golden_case *c, const char *name, const equinv_tensor *got, equinv_dtype dtype);
/* The same against values derived from a golden array, which lends its name and tolerance. */
void compare_values(golden_case *c, const char *name, const equinv_tensor *expected,
                    const equinv_tensor *got, equinv_dtype dtype);
/* A single number or truth value that must agree. */
void compare_exactly(golden_case *c, const char *what, int64_t index, double got, double expected);

/* Sets c->how, "f32, gemm, packed", and c->dtype. */
void set_how(golden_case *c, equinv_dtype dtype, const char *impl, const char *more);

/*
 * Names of an operation's implementations: `status` is what creating a plan with impl = "?" gave, and
 * the sentence of that failure lists them. "ref" must be among them.
 */
#define NO_SUCH_IMPL "?"
typedef struct impl_list {
    int count;
    const char *name[16];
    char text[512];
} impl_list;
void want_impls(golden_case *c, equinv_status status, impl_list *list);
/* Whether an implementation accepts; it may decline with UNSUPPORTED, other failures stop the case. */
bool accepts(golden_case *c, equinv_status status, const char *call);

/* ---- kinds ------------------------------------------------------------------------------------ */

void run_batch_norm(golden_case *c);
void run_checkpoint(golden_case *c);
void run_conv(golden_case *c);
void run_group(golden_case *c);
void run_philox(golden_case *c);
void run_pool(golden_case *c);
void run_projection(golden_case *c);
void run_rows(golden_case *c);
void run_spectrum(golden_case *c);
void run_upsample(golden_case *c);

#endif
#endif
