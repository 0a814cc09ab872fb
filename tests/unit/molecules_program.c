/* The experiment with molecules on a few of them, as its users run it. */
#include <limits.h>
#include <sys/stat.h>
#include <unistd.h>

#include "tests/util/program.h"

#define PROGRAM "equinv-molecules"

/* A build without zlib cannot read the molecules, one without cJSON not its checkpoint. */
static bool can_run(void)
{
    const char *const info = equinv_build_info();
    return strstr(info, "zlib: yes") != NULL && strstr(info, "cjson: yes") != NULL;
}

#define NEEDS_FILES                                                                                \
    do {                                                                                           \
        if (!can_run()) {                                                                          \
            SKIP("this build lacks zlib or cJSON");                                                \
            return;                                                                                \
        }                                                                                          \
    } while (0)

/* Options for a run of a second. */
static const char *few(const char *more)
{
    static char text[PATH_MAX + 256];
    char here[PATH_MAX];
    ck_assert_ptr_nonnull(getcwd(here, sizeof here));
    snprintf(text, sizeof text, "--data '%s/examples/data' --train 192 --test 120 %s", here, more);
    return text;
}

/* What is true of any network: codes follow the atoms, sorted ones do not change. */
START_TEST(codes_of_molecules)
{
    NEEDS_FILES;
    temp_folder folder = temp_folder_new();
    const outcome o = program_run(&folder, PROGRAM, "", few("-o . --seed 3 --epochs 2"));
    GIVES(o, 0);
    SAYS(o.out, "own copies among the 5 nearest");
    SAYS(o.err, "epoch 2:");
    char *const report = report_read(&folder, "molecules.json");
    ck_assert_double_eq(json_value(report, "seed"), 3);
    static const struct {
        const char *key;
        int count;
    } counts[] = {{"train_molecules", 192}, {"test_molecules", 120}, {"fit_molecules", 80},
                  {"judged_molecules", 40}, {"own_molecules", 120},  {"own_orders", 5},
                  {"own_queries", 120},     {"line_steps", 11},      {"line_inner_steps", 9}};
    for (size_t i = 0; i < sizeof counts / sizeof *counts; i++)
        ck_assert_int_eq((int)json_value(report, counts[i].key), counts[i].count);
    ck_assert_double_lt(json_value(report, "equivariance_error"), 1e-5);
    ck_assert_double_lt(json_value(report, "invariance_error"), 1e-5);
    ck_assert_double_eq(json_value(report, "decoded_otherwise"), 0);
    ck_assert_double_gt(json_value(report, "invariance_error_raw"), 0.1);
    ck_assert_double_gt(json_value(report, "own_sorted"), 0.95);
    ck_assert_double_lt(json_value(report, "own_raw"), 0.5);
    ck_assert_double_lt(json_value(report, "shortcut_assignment_error"), 1e-5);
    ck_assert_double_gt(json_value(report, "molecules_per_s"), 0);
    free(report);
    temp_folder_free(&folder);
}
END_TEST

/* The figures are the same twice, and the same when a training is taken up again. */
START_TEST(training_is_taken_up_again)
{
    NEEDS_FILES;
    static const char *const keys[] = {"node_accuracy", "pair_accuracy", "r2_gap_sorted_10nn",
                                       "own_raw", "variance_2_raw"};
    double figures[3][sizeof keys / sizeof *keys];
    temp_folder folder = temp_folder_new();
    static const char *const runs[] = {"-o . --epochs 2", "-o . --epochs 1", "-o . --epochs 2"};
    for (int run = 0; run < 3; run++) {
        outcome o = program_run(&folder, PROGRAM, "", few(runs[run]));
        GIVES(o, 0);
        char *const report = report_read(&folder, "molecules.json");
        for (size_t k = 0; k < sizeof keys / sizeof *keys; k++)
            figures[run][k] = json_value(report, keys[k]);
        free(report);
    }
    ck_assert(memcmp(figures[0], figures[2], sizeof figures[0]) == 0);
    ck_assert(memcmp(figures[0], figures[1], sizeof figures[0]) != 0);
    outcome o = program_run(&folder, PROGRAM, "", few("-o . --epochs 2 --resume"));
    GIVES(o, 0);
    ck_assert_msg(strstr(o.err, "epoch") == NULL, "\"%s\": nothing was left to train", o.err);
    char *const report = report_read(&folder, "molecules.json");
    for (size_t k = 0; k < sizeof keys / sizeof *keys; k++)
        ck_assert(json_value(report, keys[k]) == figures[0][k]);
    free(report);
    /* The checkpoint's six steps are more than is asked for, then no whole passes. */
    o = program_run(&folder, PROGRAM, "", few("-o . --epochs 1 --resume"));
    GIVES(o, 1);
    SAYS(o.err, "left after 6 steps");
    o = program_run(&folder, PROGRAM, "", few("-o . --epochs 9 --resume --train 256"));
    GIVES(o, 1);
    SAYS(o.err, "expected whole passes of 4 steps");
    temp_folder_free(&folder);
}
END_TEST

/* The checkpoint of a training in which some bytes are others. */
static void change_checkpoint(const temp_folder *folder, const char *good, size_t size, size_t from,
                              size_t count, char byte)
{
    char *const file = malloc(size);
    ck_assert_ptr_nonnull(file);
    memcpy(file, good, size);
    memset(file + from, byte, count);
    file_write(temp_path(folder, "molecules.safetensors"), file, size);
    free(file);
}

START_TEST(checkpoints_that_are_no_good)
{
    NEEDS_FILES;
    size_t size, left;
    temp_folder folder = temp_folder_new();
    GIVES(program_run(&folder, PROGRAM, "", few("-o . --epochs 1")), 0);
    char *const good = file_read(temp_path(&folder, "molecules.safetensors"), &size);
    char *const name = strstr(good + 8, "encoder.in.weights");
    ck_assert_ptr_nonnull(name);
    ck_assert_int_eq(unlink(temp_path(&folder, "molecules.json")), 0);

    change_checkpoint(&folder, good, size, (size_t)(name - good), 1, 'E'); /* another network */
    outcome o = program_run(&folder, PROGRAM, "", few("-o . --epochs 2 --resume"));
    GIVES(o, 1);
    SAYS(o.err, "tensor \"encoder.in.weights\" is not there");

    change_checkpoint(&folder, good, size, size / 2, size - size / 2, '\xff'); /* NaN */
    char *const bad = file_read(temp_path(&folder, "molecules.safetensors"), &size);
    o = program_run(&folder, PROGRAM, "", few("-o . --epochs 2 --resume"));
    GIVES(o, 1);
    SAYS(o.err, "the loss is not finite");
    char *const after = file_read(temp_path(&folder, "molecules.safetensors"), &left);
    ck_assert(left == size && memcmp(after, bad, size) == 0);
    o = program_run(&folder, PROGRAM, "", few("-o . --epochs 1 --resume"));
    GIVES(o, 1);
    SAYS(o.err, "the loss is not finite");
    ck_assert_int_ne(access(temp_path(&folder, "molecules.json"), F_OK), 0);
    free(after), free(bad), free(good);
    temp_folder_free(&folder);
}
END_TEST

/* Carbon atoms alone, `count` times. */
static void write_graphs(const temp_folder *folder, const char *name, int count)
{
    static const unsigned char graph[9 * 9] = {1};
    char dictionary[128];
    snprintf(dictionary, sizeof dictionary,
             "{'descr': '|u1', 'fortran_order': False, 'shape': (%d, 9, 9), }\n", count);
    bytes b = npy_with(1, dictionary);
    for (int i = 0; i < count; i++)
        bytes_add(&b, graph, sizeof graph);
    file_write(temp_path(folder, name), b.at, b.size);
}

START_TEST(too_few_molecules)
{
    NEEDS_FILES;
    temp_folder folder = temp_folder_new();
    write_graphs(&folder, "qm9-train-graphs.npy.gz", 63);
    outcome o = program_run(&folder, PROGRAM, "", "--data . -o .");
    GIVES(o, 1);
    SAYS(o.err, "qm9-train-graphs.npy.gz has 63 molecules, expected at least 64");
    write_graphs(&folder, "qm9-train-graphs.npy.gz", 64);
    write_graphs(&folder, "qm9-table-graphs.npy.gz", 49);
    o = program_run(&folder, PROGRAM, "", "--data . -o .");
    GIVES(o, 1);
    SAYS(o.err, "qm9-table-graphs.npy.gz has 49 molecules, expected at least 50");
    temp_folder_free(&folder);
}
END_TEST

/* A gnuplot that ends well without a whole picture, as it does on a full disk. */
START_TEST(picture_that_is_not_whole)
{
    NEEDS_FILES;
    static const char script[] = "#!/bin/sh\nexec cat\n";
    temp_folder folder = temp_folder_new();
    file_write(temp_path(&folder, "gnuplot"), script, strlen(script));
    ck_assert_int_eq(chmod(temp_path(&folder, "gnuplot"), 0755), 0);
    file_write(temp_path(&folder, "molecules-codes.png"), "old", 3);
    const outcome o = program_run(&folder, PROGRAM, "PATH=.:/usr/bin:/bin", few("-o . --epochs 1"));
    GIVES(o, 0);
    SAYS(o.err, "molecules-codes.png could not be written: gnuplot failed");
    size_t size;
    char *const picture = file_read(temp_path(&folder, "molecules-codes.png"), &size);
    ck_assert(size == 3 && memcmp(picture, "old", 3) == 0);
    free(picture);
    ck_assert_int_ne(access(temp_path(&folder, "molecules-codes.png.part"), F_OK), 0);
    temp_folder_free(&folder);
}
END_TEST

/* One that ends before it has read what it is told. */
START_TEST(gnuplot_that_ends_at_once)
{
    NEEDS_FILES;
    static const char script[] = "#!/bin/sh\nexit 0\n";
    temp_folder folder = temp_folder_new();
    file_write(temp_path(&folder, "gnuplot"), script, strlen(script));
    ck_assert_int_eq(chmod(temp_path(&folder, "gnuplot"), 0755), 0);
    const outcome o =
        program_run(&folder, PROGRAM, "PATH=.:/usr/bin:/bin", few("-o . --epochs 1 --test 2000"));
    GIVES(o, 0);
    SAYS(o.err, "molecules-codes.png could not be written: gnuplot failed");
    free(report_read(&folder, "molecules.json"));
    temp_folder_free(&folder);
}
END_TEST

/* A name that a shell, a format or gnuplot would read otherwise. */
START_TEST(folder_of_any_name)
{
    NEEDS_FILES;
    static const char name[] = "~it's \"here\", 100%d \\n`x`\nand there";
    temp_folder folder = temp_folder_new(), inner;
    file_write(temp_path(&folder, "name"), name, strlen(name));
    const outcome o = program_run(&folder, PROGRAM, "", few("-o \"$(cat name)\" --epochs 1"));
    GIVES(o, 0);
    snprintf(inner.path, sizeof inner.path, "%s", temp_path(&folder, name));
    free(report_read(&inner, "molecules.json"));
    if (strstr(o.err, "gnuplot: No such file"))
        SKIP("pictures: gnuplot is not installed");
    else
        ck_assert_msg(access(temp_path(&inner, "molecules-codes.png"), F_OK) == 0, "%s", o.err);
    temp_folder_free(&inner);
    temp_folder_free(&folder);
}
END_TEST

START_TEST(refusals)
{
    temp_folder folder = temp_folder_new();
    outcome o = program_run(&folder, PROGRAM, "", "--data nowhere -o .");
    GIVES(o, 1);
    SAYS(o.err, "nowhere/qm9-train-graphs.npy.gz");
    o = program_run(&folder, PROGRAM, "EQUINV_BACKEND_PATH=./no-plugin", "--device cuda -o .");
    GIVES(o, 1);
    SAYS(o.err, "device asks for cuda, which is unavailable");
    ck_assert_int_eq(count_of(o.err, "\n"), 1);
    o = program_run(&folder, PROGRAM, "", "--epochs 0");
    GIVES(o, 2);
    SAYS(o.err, "--epochs");
    o = program_run(&folder, PROGRAM, "", "more");
    GIVES(o, 2);
    SAYS(o.err, "unexpected argument \"more\"");
    temp_folder_free(&folder);
}
END_TEST

int main(void)
{
    const test_entry tests[] = {{codes_of_molecules, 1},           {training_is_taken_up_again, 1},
                                {checkpoints_that_are_no_good, 1}, {too_few_molecules, 1},
                                {picture_that_is_not_whole, 1},    {gnuplot_that_ends_at_once, 1},
                                {folder_of_any_name, 1},           {refusals, 1}};
    return run_tests("molecules_program", tests, sizeof tests / sizeof *tests);
}
