/* `equinv-bench --device cuda`: every operation has a row beside the CPU, with an error and both times. */
#include <math.h>

#include "tests/util/cuda.h"
#include "tests/util/program.h"

#define QUICK " --device cuda --threads 2 --seconds 0.005 --check-seconds 0.1 --peer cpu --json -"

static const struct {
    const char *arguments;
    double limit;
} rows[] = {
    {"--op conv --fields-in 2 --fields-out 2 --size 4x4 --batch 2", 1e-5},
    {"--op conv --fields-in 2 --fields-out 2 --size 4x4 --batch 2 --pass backward-data", 1e-5},
    {"--op conv --fields-in 2 --fields-out 2 --size 4x4 --batch 2 --pass backward-weights", 1e-5},
    {"--op conv-lift --fields-out 2 --size 5x5 --batch 2", 1e-5},
    {"--op conv-plane --fields-in 2 --fields-out 2 --size 4x4 --batch 2", 1e-5},
    {"--op project --kind linear --fields-in 2 --k 5 --batch 3", 1e-5},
    {"--op project --kind max --fields-in 2 --k 5 --batch 3", 1e-5},
    {"--op project --kind max --fields-in 2 --k 5 --batch 3 --pass backward-data", 1e-5},
    {"--op project --kind mean-relu --fields-in 2 --k 5 --batch 3", 1e-5},
    {"--op project --kind sorted --fields-in 2 --k 5 --batch 3", 1e-5},
    {"--op rowsort --rows 32 --batch 3", 0},
    {"--op templates --k 3 --channels 9", 0},
    {"--op orbit-distance --fields-in 2 --size 2x2 --batch 3", 1e-5},
    {"--op extract --fields-out 1 --size 8x8 --batch 2", 1e-5},
    {"--op train-step --fields-out 1 --size 8x8 --batch 2", 1e-3},
    {"--op act --fields-in 2 --size 2x3 --batch 2", 0},
    {"--op relu --fields-in 2 --size 2x2 --batch 2", 1e-7},
    {"--op relu --fields-in 2 --size 2x2 --batch 2 --pass backward-data", 1e-7},
    {"--op batch-norm --fields-in 2 --size 3x3 --batch 2", 1e-4},
    {"--op batch-norm --fields-in 2 --size 3x3 --batch 2 --pass backward-data", 1e-4},
    {"--op pool --fields-in 2 --size 4x4 --batch 2", 1e-6},
    {"--op pool --fields-in 2 --size 4x4 --batch 2 --pass backward-data", 1e-6},
    {"--op dense --fields-in 9 --fields-out 4 --batch 2", 1e-5},
    {"--op dense --fields-in 9 --fields-out 4 --batch 2 --pass backward-weights", 1e-5},
};
enum { ROWS = sizeof rows / sizeof *rows };

static outcome perf(const char *arguments)
{
    char line[512];
    temp_folder folder = temp_folder_new();
    snprintf(line, sizeof line, "perf %s" QUICK, arguments);
    const outcome o = program_run(&folder, "equinv-bench", "", line);
    temp_folder_free(&folder);
    return o;
}

/* Until CUDA has every operation. */
static bool is_missing(const outcome *o)
{
    return o->code == 1 && (strstr(o->err, "on CUDA yet") || strstr(o->err, "no implementation"));
}

START_TEST(every_operation_has_a_row)
{
    const outcome o = perf(rows[_i].arguments);
    if (is_missing(&o)) {
        SKIP("%s: %s", rows[_i].arguments, o.err);
        return;
    }
    GIVES(o, 0);
    ck_assert_int_eq(count_of(o.out, "\n"), 1);
    SAYS(o.out, "\"device\": \"cuda\"");
    SAYS(o.out, "\"peer\": \"cpu\"");
    const double error = json_value(o.out, "max_err"), time = json_value(o.out, "time_s");
    ck_assert_msg(error >= 0 && error <= rows[_i].limit, "max_err is %g, allowed %g", error,
                  rows[_i].limit);
    ck_assert(json_value(o.out, "peer_max_err") <= rows[_i].limit);
    ck_assert(time > 0 && json_value(o.out, "time_with_copies_s") > 0);
    const double ratio = json_value(o.out, "peer_time_s") / time;
    ck_assert(fabs(json_value(o.out, "ratio") - ratio) <= 1e-9 * ratio);
}
END_TEST

START_TEST(the_header_tells_of_the_gpu)
{
    const outcome o = perf("--op relu --fields-in 1 --size 1x1 --batches 1,2");
    GIVES(o, 0);
    SAYS(o.err, "GPU: cuda:0");
    SAYS(o.err, "read and written on the GPU");
    SAYS(o.err, "relu-C4-1-1x1: CUDA overtakes the CPU at ");
    SAYS(o.err, "; with copies at ");
    ck_assert_int_eq(count_of(o.out, "\n"), 2);
}
END_TEST

int main(void)
{
    const test_entry tests[] = {
        {every_operation_has_a_row, ROWS},
        {the_header_tells_of_the_gpu, 1},
    };
    return run_cuda_tests("cuda/bench", tests, sizeof tests / sizeof *tests);
}
