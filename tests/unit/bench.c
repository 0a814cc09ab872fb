/* The program `equinv-bench`, started as a process: its rows, its JSON, its refusals. */
#include "tests/util/program.h"

static outcome bench(const char *arguments)
{
    temp_folder folder = temp_folder_new();
    const outcome o = program_run(&folder, "equinv-bench", "", arguments);
    temp_folder_free(&folder);
    return o;
}

/* Measuring two threads at once takes seconds where others use the machine: one test does. */
#define SHORT " --seconds 0.01 --check-seconds 0.2"
#define QUICK SHORT " --threads 1"

/* ---- wrong usage and refusals ---------------------------------------------------------------- */

static const struct {
    const char *arguments;
    int code;
    const char *words[2];
} refusals[] = {
    {"", 2, {"no command was given", "list, check, perf"}},
    {"time", 2, {"\"time\" is no command", "list, check, perf"}},
    {"perf", 2, {"nothing to run", "--op"}},
    {"perf --op conf", 2, {"--op is \"conf\"", "conv-lift"}},
    {"perf --op conv --group Q8", 2, {"--group", "Q8"}},
    {"perf --op conv --size 14", 2, {"--size is \"14\"", "28x28"}},
    {"perf --op conv --size 14xx", 2, {"--size (width)", "\"x\""}},
    {"perf --op conv --kernel 0", 2, {"--kernel is \"0\"", "from 1"}},
    {"perf --op conv --stride 1.5", 2, {"--stride is \"1.5\"", "whole number"}},
    {"perf --op conv --pass sideways", 2, {"--pass is \"sideways\"", "backward-data"}},
    {"perf --op relu --pass backward-weights", 2, {"--pass is \"backward-weights\"", "--op relu"}},
    {"perf --op conv --dtype f16", 2, {"--dtype is \"f16\"", "f32, f64"}},
    {"perf --op conv --device tpu", 2, {"--device is \"tpu\"", "cpu, cuda"}},
    {"perf --op conv --threads 2000", 2, {"--threads is \"2000\"", "1024"}},
    {"perf --op conv --batches 1,,2", 2, {"--batches is \"\"", "whole number"}},
    {"perf --op conv --batches ''", 2, {"--batches is \"\"", "1,16,256"}},
    {"perf --op conv --seconds -1", 2, {"--seconds is \"-1\"", "0 to 3600"}},
    {"perf --op conv --clock sun", 2, {"--clock is \"sun\"", "wall, cpu"}},
    {"perf --op conv --clock cpu --threads 2", 2, {"--clock is \"cpu\"", "--threads 1"}},
    {"perf --op conv --kind max", 2, {"--kind is \"max\"", "--op conv has no kinds"}},
    {"perf --op project --kind least", 2, {"--kind is \"least\"", "mean-relu"}},
    {"perf --op relu --impl ref", 2, {"--impl is \"ref\"", "--op relu"}},
    {"perf --op conv --peer blas", 2, {"--peer is \"blas\"", "openblas-fold"}},
    {"perf --op conv --peer cpu", 2, {"--peer is \"cpu\"", "--device cuda"}},
    {"perf --op conv --colour red", 2, {"unrecognized option", "colour"}},
    {"perf no-such-case", 2, {"\"no-such-case\" is no case", "list"}},
    {"perf conv-c4-16 --op conv", 2, {"--op", "\"conv-c4-16\""}},
    {"perf --op bispectrum --kind max", 2, {"--kind is \"max\"", "bispectrum-full"}},
    {"perf --op bispectrum --group D4 --kind triple --impl spectrum --batch 2",
     1,
     {"triple", "declines"}},
    {"perf --op conv --group C8", 1, {"order 8", "C1, C2, C4"}},
    {"perf --op conv --impl conv/none", 1, {"conv/none", "refused"}},
    {"perf --op relu --peer ref", 1, {"peer \"ref\" has nothing", "--op relu"}},
    {"perf --cases none.txt", 1, {"none.txt", "No such file"}},
    {"perf --op relu --json none/rows" QUICK, 1, {"--json none/rows", "No such file"}},
};

START_TEST(refuses_with_a_sentence)
{
    const outcome o = bench(refusals[_i].arguments);
    GIVES(o, refusals[_i].code);
    for (int i = 0; i < 2; i++)
        SAYS(o.err, refusals[_i].words[i]);
    ck_assert_str_eq(o.out, "");
}
END_TEST

START_TEST(cuda_is_never_replaced_by_the_cpu)
{
    const outcome o = bench("perf --op relu --device cuda" QUICK);
    if (o.code == 0)
        SAYS(o.out, " cuda ");
    else
        SAYS(o.err, "cuda");
}
END_TEST

/* ---- rows ------------------------------------------------------------------------------------ */

static const struct {
    const char *arguments;
    double limit;
} rows[] = {
    {"--op conv --group C4 --fields-in 3 --fields-out 2 --size 7x9 --batch 2", 1e-5},
    {"--op conv --group D4 --fields-in 2 --fields-out 3 --size 6x6 --stride 2 --batch 2", 1e-5},
    {"--op conv --group C2 --size 5x5 --kernel 2 --batch 1 --pass backward-data", 1e-5},
    {"--op conv --group D2 --size 5x5 --dilation 2 --batch 3 --pass backward-weights", 1e-5},
    {"--op conv --group C4 --size 5x5 --batch 1 --dtype f64 --impl ref", 1e-15},
    {"--op conv-lift --fields-in 3 --size 8x8 --batch 2", 1e-5},
    {"--op conv-lift --fields-in 3 --size 8x8 --batch 2 --pass backward-weights", 1e-5},
    {"--op conv-plane --size 8x8 --batch 2", 1e-5},
    {"--op conv-plane --size 8x8 --batch 2 --pass backward-data", 1e-5},
    {"--op project --kind linear --fields-in 4 --size 3x3 --batch 9", 1e-5},
    {"--op project --kind max --group D8 --fields-in 4 --batch 9", 1e-5},
    {"--op project --kind mean-relu --group C4 --fields-in 4 --batch 9 --pass backward-data", 1e-5},
    {"--op project --kind sorted --k 5 --fields-in 4 --batch 9", 1e-5},
    {"--op project --kind sort --rows 7 --channels 3 --batch 9", 1e-5},
    {"--op project --kind project-sort --rows 7 --channels 3 --batch 9 --pass backward-data", 1e-5},
    {"--op project --kind linear --fields-in 4 --size 3x3 --batch 9 --pass backward-weights", 1e-5},
    {"--op project --kind mean-relu --group C8 --fields-in 4 --batch 9 --pass backward-weights",
     1e-5},
    {"--op project --kind project-sort --rows 7 --channels 3 --batch 9 --pass backward-weights",
     1e-5},
    {"--op bispectrum --group C12 --batch 9", 1e-5},
    {"--op bispectrum --group D5 --fields-in 3 --batch 9 --pass backward-data", 1e-5},
    {"--op bispectrum --kind power --group D4 --fields-in 2 --size 3x3 --batch 9", 1e-5},
    {"--op rowsort --rows 32 --batch 50", 0},
    {"--op rowsort --rows 32 --batch 50 --pass backward-data", 0},
    {"--op templates --k 8 --channels 33", 0},
    {"--op templates --kind rademacher --k 8 --fields-in 3", 0},
    {"--op orbit-distance --group D4 --fields-in 4 --size 3x3 --batch 5", 1e-5},
    {"--op neighbours --group D4 --fields-in 4 --size 3x3 --batch 5", 1e-5},
    {"--op neighbours --group C5 --fields-in 4 --k 3 --batch 5 --count 70", 1e-5},
    {"--op extract --fields-out 2 --size 12x12 --batch 3", 1e-5},
    {"--op train-step --group D2 --fields-out 2 --size 12x12 --batch 3", 1e-3},
    {"--op train-step --kind rot-mnist --fields-out 1 --size 8x8 --batch 2", 1e-3},
    {"--op train-step --kind resnet --group D1 --fields-out 1 --size 8x8 --batch 2", 1e-3},
    {"--op act --group C4 --size 5x7 --batch 2", 0},
    {"--op act --group D1 --size 5x7 --batch 2", 0},
    {"--op relu --batch 2", 1e-7},
    {"--op relu --batch 2 --pass backward-data", 1e-7},
    {"--op batch-norm --batch 2", 1e-4},
    {"--op batch-norm --batch 2 --pass backward-data", 1e-4},
    {"--op pool --batch 2", 1e-6},
    {"--op pool --kind group-mean --batch 2 --pass backward-data", 1e-6},
    {"--op pool --kind average --kernel 3 --batch 2", 1e-6},
    {"--op pool --kind blur --kernel 5 --batch 2", 1e-6},
    {"--op upsample --kind bilinear --batch 2", 1e-6},
    {"--op upsample --kind nearest --stride 3 --batch 2 --pass backward-data", 1e-6},
    {"--op pool --kind blur --kernel 5 --batch 2 --pass backward-data", 1e-6},
    {"--op node-linear --fields-in 5 --fields-out 4 --rows 6 --batch 3", 1e-5},
    {"--op node-linear --kind 1-2 --fields-in 5 --fields-out 4 --rows 6 --pass backward-data",
     1e-5},
    {"--op node-linear --kind 2-1 --fields-in 5 --fields-out 4 --rows 6 --pass backward-weights",
     1e-5},
    {"--op node-norm --kind instance --fields-in 5 --rows 6 --pass backward-data", 1e-4},
    {"--op filters --kind rot-mnist --group D4 --fields-out 1 --size 8x8 --batch 1", 1e-5},
    {"--op plans --group C2 --fields-out 2 --kernel 3 --size 6x6 --batch 2", 1e-5},
    {"--op dense --fields-in 30 --fields-out 20 --batch 2", 1e-5},
    {"--op dense --fields-in 30 --fields-out 20 --batch 2 --pass backward-data", 1e-5},
    {"--op dense --fields-in 30 --fields-out 20 --batch 2 --pass backward-weights", 1e-5},
};
enum { ROWS = sizeof rows / sizeof *rows };

/* All in one process, which measures the machine once. */
START_TEST(every_operation_has_a_row)
{
    temp_folder folder = temp_folder_new();
    bytes text = {0};
    char line[256];
    for (int i = 0; i < ROWS; i++) {
        snprintf(line, sizeof line, "row-%d %s\n", i, rows[i].arguments);
        bytes_add(&text, line, strlen(line));
    }
    file_write(temp_path(&folder, "cases"), text.at, text.size);
    const outcome o =
        program_run(&folder, "equinv-bench", "", "perf --cases cases --json - --threads 2" SHORT);
    temp_folder_free(&folder);
    GIVES(o, 0);
    ck_assert_int_eq(count_of(o.out, "\n"), ROWS);
    for (int i = 0; i < ROWS; i++) {
        snprintf(line, sizeof line, "{\"case\": \"row-%d\"", i);
        const char *const object = strstr(o.out, line);
        ck_assert_msg(object != NULL, "no row for %s", rows[i].arguments);
        const double error = json_value(object, "max_err"), time = json_value(object, "time_s");
        ck_assert_msg(error >= 0 && error <= rows[i].limit, "%s: max_err is %g, allowed %g",
                      rows[i].arguments, error, rows[i].limit);
        ck_assert_msg(time > 0 && time < 10, "%s: time_s is %g", rows[i].arguments, time);
    }
}
END_TEST

START_TEST(json_has_its_keys_in_order)
{
    static const char *const keys[] = {"case",
                                       "op",
                                       "impl",
                                       "peer",
                                       "threads",
                                       "time_s",
                                       "peer_time_s",
                                       "ratio",
                                       "max_err",
                                       "peer_max_err",
                                       "gflops_dense_equiv",
                                       "fma_peak_share"};
    const outcome o =
        bench("perf --op conv --fields-in 2 --fields-out 2 --size 6x6 --json -" QUICK);
    GIVES(o, 0);
    const char *at = o.out;
    ck_assert(*at == '{');
    for (size_t i = 0; i < sizeof keys / sizeof *keys; i++) {
        char name[64];
        snprintf(name, sizeof name, i ? ", \"%s\": " : "{\"%s\": ", keys[i]);
        ck_assert_msg(strncmp(at, name, strlen(name)) == 0, "\"%.30s\", expected %s", at, name);
        at += strlen(name);
        at = *at == '"' ? strchr(at + 1, '"') + 1 : at + strcspn(at, ",}");
    }
    SAYS(o.out, "\"impl\": \"conv/");
    SAYS(o.out, "\"peer\": null, ");
    SAYS(o.out, "\"ratio\": null, ");
    SAYS(o.err, "FMA peak of one core"); /* the table went there */
    SAYS(o.err, "copy: ");
    ck_assert(json_value(o.out, "gflops_dense_equiv") > 0);
    /* C4 executes 6 of 16 products: both figures are rates of the same call. */
    ck_assert(json_value(o.out, "fma_peak_share") > 0);
}
END_TEST

START_TEST(the_clock_can_be_this_thread_alone)
{
    const outcome o = bench("perf --op relu --clock cpu --json - --seconds 0.01 --threads 1");
    GIVES(o, 0);
    SAYS(o.out, "\"clock\": \"cpu\"");
    ck_assert(json_value(o.out, "time_s") > 0 &&
              json_value(o.out, "best_s") <= json_value(o.out, "time_s"));
}
END_TEST

START_TEST(json_files_grow)
{
    temp_folder folder = temp_folder_new();
    size_t size;
    for (int i = 0; i < 2; i++) {
        const outcome o = program_run(&folder, "equinv-bench", "",
                                      "perf --op relu --batches 1,2 --json rows" QUICK);
        GIVES(o, 0);
        SAYS(o.out, "relu-C4-16-14x14");
    }
    char *const text = file_read(temp_path(&folder, "rows"), &size);
    ck_assert_int_eq(count_of(text, "\n"), 4);
    ck_assert_int_eq(count_of(text, "\"batch\": 1, "), 2);
    ck_assert_int_eq(count_of(text, "\"batch\": 2, "), 2);
    free(text);
    temp_folder_free(&folder);
}
END_TEST

START_TEST(a_peer_gives_a_ratio)
{
    const outcome o =
        bench("perf --op conv --fields-in 4 --fields-out 4 --size 8x8 --batch 4 --peer ref "
              "--json -" QUICK);
    GIVES(o, 0);
    const double ratio = json_value(o.out, "peer_time_s") / json_value(o.out, "time_s");
    SAYS(o.out, "\"peer\": \"ref\"");
    ck_assert(json_value(o.out, "peer_max_err") < 1e-6);
    ck_assert(json_value(o.out, "ratio") > 0.999999 * ratio &&
              json_value(o.out, "ratio") < 1.000001 * ratio);
    ck_assert_msg(ratio > 2, "the reference is only %g times slower", ratio);
}
END_TEST

/* ---- other software: what this program was built with -------------------------------------------- */

static const char *const other_software[] = {"onednn-direct", "onednn-auto",   "onednn-reorder",
                                             "openblas",      "openblas-fold", "std"};
enum { OTHER_SOFTWARE = sizeof other_software / sizeof *other_software };

static bool is_built(const char *help, const char *peer)
{
    char name[40];
    snprintf(name, sizeof name, "\n  %s ", peer);
    const char *const line = strstr(help, name);
    ck_assert_msg(line != NULL, "--help does not name %s", peer);
    char text[128];
    snprintf(text, sizeof text, "%.*s", (int)strcspn(line + 1, "\n"), line + 1);
    return strstr(text, "(not in this program)") == NULL;
}

START_TEST(a_missing_peer_says_how_to_get_it)
{
    bool built[OTHER_SOFTWARE];
    outcome o = bench("--help");
    for (int i = 0; i < OTHER_SOFTWARE; i++)
        built[i] = is_built(o.out, other_software[i]);
    for (int i = 0; i < OTHER_SOFTWARE; i++) {
        char line[80];
        snprintf(line, sizeof line, "perf --op relu --peer %s", other_software[i]);
        o = bench(line);
        GIVES(o, 1);
        SAYS(o.err, other_software[i]);
        SAYS(o.err, built[i] ? "has nothing for --op relu" : "make bench-build");
    }
}
END_TEST

/* Every kind of convolution in every pass, odd shapes; every kind of projection; sorts. */
static const char *const compared[] = {
    "--op conv --group D4 --fields-in 3 --fields-out 5 --size 9x11",
    "--op conv --group C4 --fields-in 4 --fields-out 4 --size 12x10 --kernel 4 --stride 2",
    "--op conv --group D1 --fields-in 3 --fields-out 2 --size 8x8 --dilation 2 --padding 4",
    "--op conv --group C1 --fields-in 8 --fields-out 8 --size 7x7 --stride 3 --padding 0",
    "--op conv-lift --group D2 --fields-in 2 --fields-out 4 --size 12x10 --kernel 5",
    "--op conv-plane --group D4 --fields-in 2 --fields-out 4 --size 12x10 --kernel 1",
    "--op conv-plane --group C4 --fields-in 2 --fields-out 4 --size 6x6",
    "--op project --kind linear --fields-in 5 --size 3x3 --k 9",
    "--op project --kind mean --group D8 --fields-in 5 --k 9",
    "--op project --kind linear --group D4 --fields-in 5 --size 4x4 --k 9 --pass backward-data",
    "--op project --kind max --group D4 --fields-in 5 --size 4x4 --k 9",
    "--op project --kind mean-relu --group D5 --fields-in 5 --k 9",
    "--op project --kind mean-abs --group C8 --fields-in 5 --k 9",
    "--op project --kind mean-square --group C3 --fields-in 5 --k 9",
    "--op project --kind min --group C8 --fields-in 5 --k 9",
    "--op project --kind moment3 --group C8 --fields-in 5 --k 9",
    "--op project --kind cdf --group C8 --fields-in 5 --k 9",
    "--op project --kind sorted --group C7 --fields-in 5 --k 9",
    "--op project --kind orbit --group C7 --fields-in 5 --k 9",
    "--op project --kind sort --rows 7 --channels 3",
    "--op project --kind project-sort --rows 7 --channels 3 --k 5",
    "--op orbit-distance --group D4 --fields-in 5 --size 4x4",
    "--op neighbours --group C8 --fields-in 5 --k 4 --count 600",
    "--op neighbours --group D3 --fields-in 5 --k 400 --count 300",
    "--op rowsort --rows 27",
    "--op extract --kind plain --group C2 --fields-out 2 --size 8x8",
    "--op extract --kind rot-mnist --group C4 --fields-out 2 --size 8x8",
    "--op extract --kind resnet --group D4 --fields-in 3 --fields-out 2 --size 7x7",
};
enum { COMPARED = sizeof compared / sizeof *compared };

static void add_compared(bytes *text, int i, const char *pass)
{
    char line[256];
    snprintf(line, sizeof line, "case-%d-%s %s --batch 3 %s%s\n", i, pass, compared[i],
             *pass ? "--pass " : "", pass);
    bytes_add(text, line, strlen(line));
}

START_TEST(peers_compute_the_same)
{
    temp_folder folder = temp_folder_new();
    bytes text = {0};
    for (int i = 0; i < COMPARED; i++) {
        add_compared(&text, i, "");
        if (strstr(compared[i], "conv")) {
            add_compared(&text, i, "backward-data");
            add_compared(&text, i, "backward-weights");
        }
    }
    bytes_add(&text, "normals --op templates --k 8 --channels 33\n", 43);
    file_write(temp_path(&folder, "cases"), text.at, text.size);
    const outcome o = program_run(&folder, "equinv-bench", "",
                                  "perf --cases cases --peer all --json rows --seconds 0.001 "
                                  "--check-seconds 0.2 --threads 1");
    ck_assert_msg(o.code == 0, "exit code %d, stderr \"%.500s\"", o.code, o.err);
    size_t size;
    char *const rows_text = file_read(temp_path(&folder, "rows"), &size);
    temp_folder_free(&folder);
    int rows_of[OTHER_SOFTWARE] = {0};
    for (const char *row = strchr(rows_text, '{'); row; row = strchr(row + 1, '{')) {
        int which = -1;
        char key[64], object[1024];
        snprintf(object, sizeof object, "%.*s", (int)strcspn(row, "}"), row);
        for (int i = 0; i < OTHER_SOFTWARE; i++) {
            snprintf(key, sizeof key, "\"peer\": \"%s\"", other_software[i]);
            if (strstr(object, key))
                which = i;
        }
        if (which < 0)
            continue;
        rows_of[which]++;
        if (strstr(object, "\"normals\"")) {
            SAYS(object, "\"peer_max_err\": null");
            continue;
        }
        const double error = json_value(object, "peer_max_err");
        ck_assert_msg(error >= 0 && error < 1e-5, "%.90s: peer_max_err is %g", object, error);
        ck_assert(json_value(object, "ratio") > 0);
    }
    free(rows_text);
    const outcome help = bench("--help");
    for (int i = 0; i < OTHER_SOFTWARE; i++)
        ck_assert_msg((rows_of[i] > 0) == is_built(help.out, other_software[i]), "%s has %d rows",
                      other_software[i], rows_of[i]);
}
END_TEST

START_TEST(all_implementations_can_be_checked)
{
    outcome o = bench("check --op conv --fields-in 2 --fields-out 2 --size 6x6 --impl all" QUICK);
    GIVES(o, 0);
    SAYS(o.out, " conv/gfourier ");
    SAYS(o.out, " conv/gemm ");
    SAYS(o.out, " conv/ref ");
    o = bench("check --op conv-plane --fields-in 2 --fields-out 2 --size 3x3 --padding 0 --impl "
              "all" QUICK);
    GIVES(o, 0);
    SAYS(o.out, " conv/window ");
    SAYS(o.out, " conv/gfourier ");
    o = bench("check --op conv --dtype f64 --fields-in 2 --size 6x6 --impl all" QUICK);
    GIVES(o, 0);
    ck_assert(strstr(o.out, "conv/gfourier") == NULL);
    SAYS(o.out, " conv/gemm ");
}
END_TEST

/* Shares of the peak are products of the Fourier form over dense ones: 13 of 36 for C4, 3x3. */
START_TEST(lifting_counts_products_by_orbits_of_taps)
{
    static const struct {
        const char *arguments;
        double share;
    } counted[] = {
        {"--op conv-lift --group C4 --kernel 3", 13.0 / 36},
        {"--op conv-lift --group C4 --kernel 5", 37.0 / 100},
        {"--op conv-lift --group C4 --kernel 7", 73.0 / 196},
        {"--op conv-lift --group D4 --kernel 3", 13.0 / 72},
        {"--op conv-lift --group D4 --kernel 7", 73.0 / 392},
        {"--op conv-lift --group D2 --kernel 3", 9.0 / 36},
        {"--op conv-plane --group D4 --kernel 3", 1.0 / 8},
        {"--op conv --group C4 --kernel 3", 6.0 / 16},
        {"--op conv --group D4 --kernel 3", 12.0 / 64},
        {"--op conv --group D2 --kernel 3", 4.0 / 16},
        {"--op conv --group D1 --kernel 3", 2.0 / 4},
    };
    enum { COUNTED = sizeof counted / sizeof *counted };
    temp_folder folder = temp_folder_new();
    bytes text = {0};
    char line[128];
    for (int i = 0; i < COUNTED; i++) {
        snprintf(line, sizeof line, "row-%d %s --size 6x6 --batch 2\n", i, counted[i].arguments);
        bytes_add(&text, line, strlen(line));
    }
    file_write(temp_path(&folder, "cases"), text.at, text.size);
    const outcome o = program_run(&folder, "equinv-bench", "", "perf --cases cases --json -" QUICK);
    temp_folder_free(&folder);
    GIVES(o, 0);
    double peak = 0; /* the same of every row, whatever it is */
    for (int i = 0; i < COUNTED; i++) {
        snprintf(line, sizeof line, "{\"case\": \"row-%d\"", i);
        const char *const object = strstr(o.out, line);
        ck_assert_ptr_nonnull(object);
        const double rate = json_value(object, "gflops_dense_equiv") * counted[i].share /
                            json_value(object, "fma_peak_share");
        peak = i == 0 ? rate : peak;
        ck_assert_msg(rate > peak * (1 - 1e-6) && rate < peak * (1 + 1e-6), "%s",
                      counted[i].arguments);
    }
}
END_TEST

START_TEST(an_implementation_can_be_forced)
{
    const outcome o =
        bench("perf --op conv --fields-in 2 --fields-out 2 --size 6x6 --impl ref --json -" QUICK);
    GIVES(o, 0);
    SAYS(o.out, "\"impl\": \"conv/ref\"");
}
END_TEST

START_TEST(large_cases_are_checked_at_a_smaller_batch)
{
    const outcome o = bench("perf --op conv --batch 64 --check-seconds 0 --seconds 0.01 --json -");
    GIVES(o, 0);
    ck_assert(json_value(o.out, "batch") == 64 && json_value(o.out, "check_batch") == 1);
    SAYS(o.err, "* ");
}
END_TEST

/* Of this seed two members of an orbit are closer than the rounding of f32, which sorts them the other way round. */
START_TEST(gradients_are_not_compared_at_near_ties)
{
    const outcome o =
        bench("check --op project --kind sorted --group D4 --fields-in 16 --k 64 --batch 400 "
              "--pass backward-data --seed 7 --check-seconds 60 --threads 1");
    GIVES(o, 0);
    SAYS(o.err, "as near to a kink as rounding");
}
END_TEST

/* ---- named cases ------------------------------------------------------------------------------- */

START_TEST(list_shows_every_case_once)
{
    const outcome o = bench("list");
    GIVES(o, 0);
    ck_assert_str_eq(o.err, "");
    SAYS(o.out, "conv-c4-16 ");
    SAYS(o.out, "--op train-step");
    for (const char *line = o.out; *line; line = strchr(line, '\n') + 1) {
        char name[80];
        snprintf(name, sizeof name, "\n%.*s ", (int)strcspn(line, " "), line);
        ck_assert_msg(count_of(o.out, name) + (line == o.out) == 1, "%s is there more than once",
                      name);
    }
}
END_TEST

START_TEST(options_change_named_cases)
{
    const outcome o = bench("perf rowsort-32 relu-c4 --batch 3 --json -" QUICK);
    GIVES(o, 0);
    ck_assert_int_eq(count_of(o.out, "\n"), 2);
    ck_assert_int_eq(count_of(o.out, "\"batch\": 3, "), 2);
    SAYS(o.out, "\"case\": \"rowsort-32\"");
    SAYS(o.out, "\"case\": \"relu-c4\"");
}
END_TEST

START_TEST(batches_of_a_case_give_way_to_the_command_line)
{
    temp_folder folder = temp_folder_new();
    const char text[] = "one --op relu --batches 2,4,6\n";
    file_write(temp_path(&folder, "cases"), text, sizeof text - 1);
    outcome o = program_run(&folder, "equinv-bench", "", "perf --cases cases --json -" QUICK);
    GIVES(o, 0);
    ck_assert_int_eq(count_of(o.out, "\n"), 3);
    SAYS(o.out, "\"batch\": 6, ");
    o = program_run(&folder, "equinv-bench", "",
                    "perf one --cases cases --batches 3 --json -" QUICK);
    GIVES(o, 0);
    ck_assert_int_eq(count_of(o.out, "\n"), 1);
    SAYS(o.out, "\"batch\": 3, ");
    o = program_run(&folder, "equinv-bench", "", "perf one --cases cases --batch 5 --json -" QUICK);
    GIVES(o, 0);
    ck_assert_int_eq(count_of(o.out, "\n"), 1);
    SAYS(o.out, "\"batch\": 5, ");
    temp_folder_free(&folder);
}
END_TEST

START_TEST(case_files_have_comments_and_line_numbers)
{
    temp_folder folder = temp_folder_new();
    const char good[] = "# two cases\n\n  one --op relu --batch 2 # small\ntwo\t--op act\r\n";
    file_write(temp_path(&folder, "cases"), good, sizeof good - 1);
    outcome o = program_run(&folder, "equinv-bench", "", "check --cases cases");
    GIVES(o, 0);
    ck_assert_int_eq(count_of(o.out, "\n"), 3);
    o = program_run(&folder, "equinv-bench", "", "check --cases cases two");
    GIVES(o, 0);
    ck_assert_int_eq(count_of(o.out, "\n"), 2);
    o = program_run(&folder, "equinv-bench", "", "list --cases cases");
    ck_assert_int_eq(count_of(o.out, "\n"), 2);

    static const char *const bad[] = {"one --op relu\ntwo --op conv --kernel none\n",
                                      "one --op relu\ntwo --op relu --json rows\n",
                                      "one --op relu\ntwo --batch 2\n",
                                      "one --op relu\ntwo --op relu three\n"};
    static const char *const words[] = {"cases:2: --kernel is \"none\"", "cases:2: --json belongs",
                                        "cases:2: --op is missing", "cases:2: \"three\""};
    for (int i = 0; i < 4; i++) {
        file_write(temp_path(&folder, "cases"), bad[i], strlen(bad[i]));
        o = program_run(&folder, "equinv-bench", "", "check two --cases cases");
        GIVES(o, 2);
        SAYS(o.err, words[i]);
    }
    file_write(temp_path(&folder, "cases"), "# none\n", 7);
    o = program_run(&folder, "equinv-bench", "", "check --cases cases");
    GIVES(o, 1);
    SAYS(o.err, "cases has no case");
    temp_folder_free(&folder);
}
END_TEST

START_TEST(a_case_that_fails_does_not_stop_the_others)
{
    temp_folder folder = temp_folder_new();
    const char text[] = "one --op conv --group C8\ntwo --op relu\n";
    file_write(temp_path(&folder, "cases"), text, sizeof text - 1);
    const outcome o = program_run(&folder, "equinv-bench", "", "check --cases cases");
    GIVES(o, 1);
    SAYS(o.err, "one, batch 32: refused");
    SAYS(o.out, "\ntwo ");
    temp_folder_free(&folder);
}
END_TEST

/* ---- environment -------------------------------------------------------------------------------- */

START_TEST(starts_again_without_the_handicap)
{
    temp_folder folder = temp_folder_new();
    const outcome o =
        program_run(&folder, "equinv-bench", "OPENBLAS_CORETYPE=Prescott OPENBLAS_L2_SIZE=1",
                    "check --op relu --batch 2");
    GIVES(o, 0);
    SAYS(o.out, "relu-C4-16-14x14");
    temp_folder_free(&folder);
}
END_TEST

START_TEST(help_names_operations_and_peers)
{
    const outcome o = bench("--help");
    GIVES(o, 0);
    ck_assert_str_eq(o.err, "");
    SAYS(o.out, "Usage: equinv-bench");
    SAYS(o.out, "orbit-distance");
    SAYS(o.out, "onednn-reorder");
    SAYS(o.out, "Exit codes:");
}
END_TEST

int main(void)
{
    const test_entry tests[] = {
        {refuses_with_a_sentence, sizeof refusals / sizeof *refusals},
        {cuda_is_never_replaced_by_the_cpu, 1},
        {every_operation_has_a_row, 1},
        {json_has_its_keys_in_order, 1},
        {the_clock_can_be_this_thread_alone, 1},
        {json_files_grow, 1},
        {a_peer_gives_a_ratio, 1},
        {a_missing_peer_says_how_to_get_it, 1},
        {peers_compute_the_same, 1},
        {all_implementations_can_be_checked, 1},
        {lifting_counts_products_by_orbits_of_taps, 1},
        {an_implementation_can_be_forced, 1},
        {large_cases_are_checked_at_a_smaller_batch, 1},
        {gradients_are_not_compared_at_near_ties, 1},
        {list_shows_every_case_once, 1},
        {options_change_named_cases, 1},
        {batches_of_a_case_give_way_to_the_command_line, 1},
        {case_files_have_comments_and_line_numbers, 1},
        {a_case_that_fails_does_not_stop_the_others, 1},
        {starts_again_without_the_handicap, 1},
        {help_names_operations_and_peers, 1},
    };
    return run_tests("bench", tests, sizeof tests / sizeof *tests);
}
