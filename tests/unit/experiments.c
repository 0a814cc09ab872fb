/*
 * The experiments of examples/ on a few digits, as their users run them: they end well, their reports
 * are complete or absent, and what must hold for any network holds.
 */
#include <limits.h>
#include <stdlib.h>
#include <sys/stat.h>
#include <unistd.h>

#include "tests/util/program.h"

/* A build without zlib cannot read the digits. */
static bool can_run(void)
{
    return strstr(equinv_build_info(), "zlib: yes") != NULL;
}

#define NEEDS_DIGITS                                                                               \
    do {                                                                                           \
        if (!can_run()) {                                                                          \
            SKIP("this build has no zlib, and the digits are gzipped");                            \
            return;                                                                                \
        }                                                                                          \
    } while (0)

/* A file size limit: 512 bytes, less than any report. */
#define DISK_IS_FULL "sh -c 'ulimit -f 1 && exec \"$@\"' sh"

/* Options for a run of a second. */
static const char *few(const char *more)
{
    static char text[PATH_MAX + 256];
    char here[PATH_MAX];
    ck_assert_ptr_nonnull(getcwd(here, sizeof here));
    snprintf(text, sizeof text, "--data '%s/examples/data' --train 120 --test 24 --epochs 1 %s",
             here, more);
    return text;
}

static void check_digits(const temp_folder *folder)
{
    char *const report = report_read(folder, "digits.json");
    ck_assert_double_eq(json_value(report, "seed"), 3);
    ck_assert_double_lt(json_value(report, "equivariance_error"), 1e-5);
    ck_assert_double_lt(json_value(report, "invariance_error"), 1e-5);
    for (const char *const *code = (const char *const[]){"linear", "max", "sorted", NULL}; *code;
         code++) {
        char upright[32], turned[32];
        snprintf(upright, sizeof upright, "knn_%s_upright", *code);
        snprintf(turned, sizeof turned, "knn_%s_90", *code);
        ck_assert_double_eq(json_value(report, upright), json_value(report, turned));
    }
    ck_assert_int_eq(count_of(report, "\"name\": \"raw\""), 5); /* four layers and a probe */
    free(report);
}

static void check_augmentation(const temp_folder *folder)
{
    char *const report = report_read(folder, "augmentation.json");
    ck_assert_double_lt(json_value(report, "spread_mean"), 1e-5);
    ck_assert_double_gt(json_value(report, "spread_raw"), 0.1);
    ck_assert_double_eq(json_value(report, "own_mean"), 1);
    ck_assert_int_eq(count_of(report, "\"name\": \"sorted\""), 3); /* networks */
    free(report);
}

/* Two reports and no third: the page has both, nothing is beside it, and it says what is missing. */
static void check_page(const temp_folder *folder)
{
    size_t size;
    const outcome o = program_run(folder, "equinv-paper", "", ".");
    GIVES(o, 0);
    SAYS(o.err, "there is no ./molecules.json");
    char *const report = report_read(folder, "report.json");
    ck_assert_int_eq(count_of(report, "\"test_accuracy\":"), 1);
    ck_assert_int_eq(count_of(report, "\"spread_mean\":"), 1);
    ck_assert_int_eq(count_of(report, "\"seconds\":"), 3);
    free(report);
    char *const page = file_read(temp_path(folder, "report.html"), &size);
    ck_assert(strstr(page, "This experiment was not run: there is no molecules.json") != NULL);
    ck_assert(strstr(page, "</html>") != NULL);
    ck_assert_int_eq(count_of(page, "<h2"), 4);
    ck_assert_int_eq(count_of(page, "<li>"), 2); /* what came out */
    ck_assert_int_eq(count_of(page, "e-0"), 0);
    ck_assert_int_eq(count_of(page, "src="), count_of(page, "src=\"data:"));
    ck_assert_int_eq(count_of(page, "href="), 0);
    ck_assert_int_eq(count_of(page, "{"), count_of(page, "}"));
    free(page);
    GIVES(program_run(folder, "equinv-paper", "", ". 12"), 0);
    char *const timed = report_read(folder, "report.json");
    ck_assert_int_eq(count_of(timed, "\"seconds\":\t12\n"), 1);
    free(timed);
    const outcome misused = program_run(folder, "equinv-paper", "", ". 12s");
    GIVES(misused, 2);
    SAYS(misused.err, "usage: equinv-paper [FOLDER [SECONDS]]");
    const outcome full = program_run(folder, "equinv-paper", DISK_IS_FULL, ".");
    GIVES(full, 1);
    SAYS(full.err, "report.json could not be written: File too large");
    ck_assert_int_ne(access(temp_path(folder, "report.json.part"), F_OK), 0);
    free(report_read(folder, "report.json")); /* the old one */
    file_write(temp_path(folder, "digits.json"), "{\"seconds\": ", 12);
    const outcome cut = program_run(folder, "equinv-paper", "", ".");
    GIVES(cut, 1);
    SAYS(cut.err, "digits.json is no JSON object");
}

START_TEST(experiments_and_their_page)
{
    NEEDS_DIGITS;
    temp_folder folder = temp_folder_new();
    const outcome o = program_run(&folder, "equinv-digits", "", few("-o . --seed 3"));
    GIVES(o, 0);
    SAYS(o.out, "distance of orbits");
    check_digits(&folder);
    GIVES(program_run(&folder, "equinv-augmentation", "", few("-o .")), 0);
    check_augmentation(&folder);
    if (strstr(equinv_build_info(), "cjson: yes"))
        check_page(&folder);
    else
        SKIP("page: this build has no cJSON");
    temp_folder_free(&folder);
}
END_TEST

/* Figures on both sides of their limits, and one that is not there. */
START_TEST(goals_are_judged)
{
    if (!strstr(equinv_build_info(), "cjson: yes")) {
        SKIP("page: this build has no cJSON");
        return;
    }
    static const char report[] = "{\"seconds\": 1, \"node_accuracy\": 0.98, \"own_raw\": 0.2, "
                                 "\"r2_gap_sorted_10nn\": 0.5, \"r2_gap_raw_10nn\": 0.25, "
                                 "\"valid_raw\": 0.2, \"valid_sorted\": 0.3}\n";
    static const char *const rows[] = {
        "atoms rebuilt<td>0.980<td>&ge;&nbsp;0.98<td>yes",
        "pairs rebuilt<td>\xe2\x80\x93<td>&ge;&nbsp;0.9<td>\xe2\x80\x93",
        "own copy nearest, raw<td>0.200<td>&le;&nbsp;0.1<td><b>no</b>",
        "gain in R2, gap<td>0.250<td>&ge;&nbsp;0.15<td>yes",
        "valid steps, sorted<td>0.300<td>&ge;&nbsp;0.28<td>yes",
        "valid steps, sorted for one of raw<td>1.500<td>&ge;&nbsp;1.7<td><b>no</b>",
    };
    size_t size;
    temp_folder folder = temp_folder_new();
    file_write(temp_path(&folder, "molecules.json"), report, strlen(report));
    GIVES(program_run(&folder, "equinv-paper", "", "."), 0);
    char *const page = file_read(temp_path(&folder, "report.html"), &size);
    for (size_t i = 0; i < sizeof rows / sizeof *rows; i++)
        ck_assert_msg(strstr(page, rows[i]) != NULL, "no \"%s\" on the page", rows[i]);
    free(page);
    temp_folder_free(&folder);
}
END_TEST

START_TEST(a_full_disk_leaves_nothing)
{
    NEEDS_DIGITS;
    temp_folder folder = temp_folder_new();
    const outcome o =
        program_run(&folder, "equinv-augmentation", DISK_IS_FULL, few("-o new/reports --train 20"));
    GIVES(o, 1);
    SAYS(o.err, "augmentation.json");
    ck_assert_int_eq(rmdir(temp_path(&folder, "new/reports")), 0); /* it is empty */
    ck_assert_int_eq(rmdir(temp_path(&folder, "new")), 0);
    temp_folder_free(&folder);
}
END_TEST

START_TEST(wrong_options_are_named)
{
    static const struct {
        const char *arguments, *sentence;
        int code;
    } table[] = {
        {"--seed x", "--seed is \"x\"", 2},
        {"--train 3", "--train is \"3\"", 2},
        {"digits", "unexpected argument \"digits\"", 2},
        {"--device gpu", "--device is \"gpu\"", 2},
        {"--device cuda", "device asks for cuda, which is unavailable", 1},
        {"--data nowhere", "nowhere has neither train-images-idx3-ubyte", 1},
    };
    temp_folder folder = temp_folder_new();
    for (size_t i = 0; i < sizeof table / sizeof *table; i++) {
        const outcome o = program_run(&folder, "equinv-digits", "", table[i].arguments);
        GIVES(o, table[i].code);
        SAYS(o.err, table[i].sentence);
    }
    temp_folder_free(&folder);
}
END_TEST

int main(void)
{
    const test_entry tests[] = {
        {experiments_and_their_page, 1},
        {goals_are_judged, 1},
        {a_full_disk_leaves_nothing, 1},
        {wrong_options_are_named, 1},
    };
    return run_tests("experiments", tests, sizeof tests / sizeof *tests);
}
