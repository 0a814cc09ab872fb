/* The golden runner itself: right and wrong cases, its lines, counts and exit status. */
#include <math.h>
#include <sys/stat.h>
#include <unistd.h>

#include "tests/util/golden.h"

START_TEST(without_cjson_it_says_so)
{
#ifdef EQI_HAVE_CJSON
    SKIP("this build has cJSON");
#else
    const golden_result r = golden_run_with("/nowhere");
    ck_assert_str_eq(r.text, "SKIP golden: this build has no cJSON\n");
    ck_assert_int_eq(r.status, 0);
#endif
}
END_TEST

START_TEST(a_right_case_passes)
{
    if (!golden_set_up())
        return;
    golden_group("right", "1e-12");
    const golden_result r = golden_run();
    HAS_LINE(r, "PASS right 0 1e-10 without: grid_channels\n");
    ENDS(r, 1, 0, 0, 0);
    golden_tear_down();
}
END_TEST

START_TEST(wrong_numbers_fail)
{
    if (!golden_set_up())
        return;
    golden_group("a_right", "1e-12");
    golden_group_with("b_wrong", "1e-12", -0.999);
    golden_group_with("c_nan", "1e-12", (double)NAN);
    golden_group_with("d_infinite", "1e-12", (double)INFINITY);
    golden_group_with("e_within", "1e-6", -1 + 1e-8);
    golden_group_with("f_at_least_1e-10", "1e-12", -1 + 1e-11);
    golden_group_with("g_beyond", "1e-12", -1 + 1e-8);
    golden_group_with("h_no_excuse", "1e300", (double)NAN);
    golden_group("i_integer", "1e-1");
    golden_save("i_integer", "mul.npy", EQUINV_I32, 2, (int64_t[]){2, 2}, (double[]){0, 1, 1, 1});
    const golden_result r = golden_run();
    HAS_LINE(r, "PASS a_right 0 ");
    HAS_LINE(r, "FAIL b_wrong 0.001 1e-10 plane[1, 1, 1] (f64) is -1, expected -0.999 without: ");
    HAS_LINE(r, "FAIL c_nan nan 1e-10 plane[1, 1, 1] (f64) is -1, expected nan");
    HAS_LINE(r, "FAIL d_infinite inf 1e-10 plane[1, 1, 1] (f64) is -1, expected inf");
    HAS_LINE(r, "PASS e_within 1e-08 1e-06 ");
    HAS_LINE(r, "PASS f_at_least_1e-10 1e-11 1e-10 ");
    HAS_LINE(r, "FAIL g_beyond 1e-08 1e-10 ");
    HAS_LINE(r, "FAIL h_no_excuse nan 1e+300 ");
    HAS_LINE(r, "FAIL i_integer 1 0 mul[1, 1] (f64) is 0, expected 1 ");
    ENDS(r, 3, 6, 0, 1);
    golden_tear_down();
}
END_TEST

START_TEST(what_is_not_built_is_skipped)
{
    if (!golden_set_up())
        return;
    golden_save_json("a", "{\"kind\": \"unheard\", \"arrays\": {\"src\": {\"shape\": [1]}}}");
    golden_save_json("b", "{\"kind\": \"group\", \"group\": \"SO2\", \"arrays\": {}}");
    golden_save_json("c", "{\"kind\": \"two\\nlines\", \"arrays\": {}}");
    golden_save_json("d", "{\"kind\": \"grouppool\", \"group\": \"C2\", \"fields_in\": "
                          "[[\"irrep_1\", 2]], \"arrays\": {}}");
    const golden_result r = golden_run();
    HAS_LINE(r, "SKIP a - - kind unheard is not built\n");
    HAS_LINE(r, "SKIP b - - group SO2 is not built\n");
    HAS_LINE(r, "SKIP c - - kind two?lines is not built\n");
    HAS_LINE(r, "SKIP d - - fields of kind irrep_1 are not built\n");
    ENDS(r, 0, 0, 4, 0);
    golden_tear_down();
}
END_TEST

START_TEST(cases_come_from_the_manifest)
{
    if (!golden_set_up())
        return;
    golden_group("listed", "1e-12");
    golden_group_with("unlisted", "1e-12", 5);
    golden_save_manifest("{\"cases\": [{\"name\": \"listed\", \"kind\": \"group\"}]}");
    golden_result r = golden_run();
    HAS_LINE(r, "PASS listed ");
    ENDS(r, 1, 0, 0, 0);

    golden_save_manifest("{\"cases\": [{\"name\": \"listed\"}, {\"name\": \"gone\"}]}");
    r = golden_run();
    HAS_LINE(r, "FAIL gone - - malformed: ");
    ENDS(r, 1, 1, 0, 1);

    golden_save_manifest("{\"cases\": [{\"name\": \"../listed\"}, {\"kind\": \"group\"}, 7]}");
    r = golden_run();
    HAS_LINE(r, "FAIL ../listed - - malformed: ");
    HAS_LINE(r, "FAIL ? - - malformed: ");
    ENDS(r, 0, 3, 0, 1);

    golden_save_manifest("{\"cases\": []}");
    r = golden_run();
    ENDS(r, 0, 0, 0, 1);

    golden_save_manifest("{\"cases\": "); /* fails, and whatever is there runs */
    r = golden_run();
    HAS_LINE(r, "FAIL manifest.json - - malformed: ");
    HAS_LINE(r, "PASS listed ");
    HAS_LINE(r, "FAIL unlisted ");
    ENDS(r, 1, 2, 0, 1);

    unlink(temp_path(&golden_root, "manifest.json"));
    r = golden_run();
    ENDS(r, 1, 1, 0, 1);
    golden_tear_down();
}
END_TEST

START_TEST(zero_cases_fail)
{
    if (!golden_set_up())
        return;
    golden_result r = golden_run();
    ENDS(r, 0, 0, 0, 1);
    mkdir(temp_path(&golden_root, "no_case_in_it"), 0777);
    r = golden_run();
    ENDS(r, 0, 0, 0, 1);
    r = golden_run_with("/nowhere/at/all");
    ENDS(r, 0, 0, 0, 1);
    r = golden_run_with("");
    ck_assert_int_eq(r.status, 2);
    golden_tear_down();
}
END_TEST

/* 1 + 2^-25 is no fp32 number: fp32 is off by 2^-25 / 2, fp64 exact, so the line shows fp32's tolerance. */
START_TEST(fp32_tolerances)
{
    if (!golden_set_up())
        return;
    const double src[6] = {1 + 0x1p-25, 0.5, -1, 0.25, 0.75, -2}, dst[3] = {src[0], 0.75, -1};
    golden_pool("a", "", src, dst);
    golden_pool("b", "\"tolerance\": {\"rel\": 1e-12},", src, dst);
    golden_pool("c", "\"tolerance\": {\"rel\": 1e-4},", src, dst);
    golden_pool("d", "\"fp32_dense_rel_error\": {\"dst\": 1e-6},", src, dst);
    golden_pool("e", "\"fp32_dense_rel_error\": {\"dst\": 1e-9},", src, dst);
    golden_pool("f", "\"tolerance\": {\"rel\": 1e-4}, \"fp32_dense_rel_error\": {\"dst\": 1e-9},",
                src, dst);
    golden_pool("g", "\"fp32_dense_rel_error\": {\"diff_src\": 1e-9},", src, dst);
    golden_pool("h", "\"fp32_dense_rel_error\": {\"dst\": \"x\"},", src, dst);
    const golden_result r = golden_run();
    HAS_LINE(r, "PASS a 2.98e-08 5e-06\n");
    HAS_LINE(r, "PASS b 2.98e-08 5e-06\n");
    HAS_LINE(r, "PASS c 2.98e-08 0.0001\n");
    HAS_LINE(r, "PASS d 2.98e-08 4e-06\n");
    HAS_LINE(r, "PASS e 2.98e-08 1e-06\n");
    HAS_LINE(r, "PASS f 2.98e-08 1e-06\n");
    HAS_LINE(r, "PASS g 2.98e-08 5e-06\n");
    HAS_LINE(r, "FAIL h - - malformed: ");
    ENDS(r, 7, 1, 0, 1);
    golden_tear_down();
}
END_TEST

/* Differences count in relation to the largest finite value; infinities must agree. */
START_TEST(infinities_are_exact_and_do_not_set_the_scale)
{
    if (!golden_set_up())
        return;
    const double inf = (double)INFINITY;
    const double src[6] = {inf, 100, -inf, 0, 0, -inf};
    golden_pool("a", "", src, (double[]){inf, 100, -inf});
    golden_pool("b", "", src, (double[]){inf, 101, -inf});
    golden_pool("c", "", src, (double[]){inf, 100, inf});
    golden_pool("d", "", src, (double[]){1e30, 100, -inf});
    golden_pool("e", "", src, (double[]){inf, inf, -inf});
    golden_pool("f", "\"tolerance\": {\"rel\": 0.5},", src, (double[]){inf, 101, -inf});
    const golden_result r = golden_run();
    HAS_LINE(r, "PASS a 0 5e-06\n");
    HAS_LINE(r, "FAIL b 0.0099 1e-10 dst[0, 0, 0, 1] (f64, ");
    HAS_LINE(r, "FAIL c inf ");
    HAS_LINE(r, "FAIL d inf ");
    HAS_LINE(r, "FAIL e inf ");
    HAS_LINE(r, "PASS f 0.0099 0.5\n");
    ENDS(r, 2, 4, 0, 1);
    golden_tear_down();
}
END_TEST

/* Implementations that the command names are counted; none of several cases is a failure. */
START_TEST(counts_cases_of_an_implementation)
{
    if (!golden_set_up())
        return;
    char command[300];
    golden_pool("a", "\"mode\": \"max\",", (double[6]){0}, (double[3]){0});
    snprintf(command, sizeof command, "'%s' conv/ref conv/other", golden_root.path);
    golden_result r = golden_run_with(command);
    HAS_LINE(r, "0 of 0 by conv/ref in f32\n");
    ENDS(r, 1, 0, 0, 0);
    golden_conv("b", REGULAR ", \"bias\": false", PSI, (double[]){3, 6});
    golden_conv("c", REGULAR ", \"bias\": false", PSI,
                (double[]){3, 6.001}); /* fails: not counted */
    r = golden_run_with(command);
    HAS_LINE(r, "1 of 1 by conv/ref in f32\n");
    HAS_LINE(r, "0 of 1 by conv/other in f32\n");
    ENDS(r, 2, 1, 0, 1);
    golden_remove(golden_in_case("c", ""));
    r = golden_run_with(command);
    ENDS(r, 2, 0, 0, 1);
    snprintf(command, sizeof command, "'%s' conv/ref", golden_root.path);
    r = golden_run_with(command);
    ENDS(r, 2, 0, 0, 0);
    golden_tear_down();
}
END_TEST

/* A call that the library refuses is a failure with the library's sentence. */
START_TEST(refused_calls_fail)
{
    if (!golden_set_up())
        return;
    golden_save_json("a",
                     "{\"kind\": \"maxpool\", \"group\": \"C2\", \"fields_in\": [[\"regular\", 1]],"
                     "\"k\": 9, \"stride\": 1, \"padding\": 0, \"arrays\": {\"src\": {\"shape\": "
                     "[1, 2, 1, 3]}, \"dst\": {\"shape\": [1, 2, 1, 3]}}}");
    const double zeros[6] = {0};
    golden_save("a", "src.npy", EQUINV_F32, 4, (int64_t[]){1, 2, 1, 3}, zeros);
    golden_save("a", "dst.npy", EQUINV_F32, 4, (int64_t[]){1, 2, 1, 3}, zeros);
    const golden_result r = golden_run();
    HAS_LINE(r, "FAIL a - - EQUINV_ERR_SHAPE: height is 1");
    ENDS(r, 0, 1, 0, 1);
    golden_tear_down();
}
END_TEST

int main(void)
{
    const test_entry tests[] = {
        {without_cjson_it_says_so, 1},
        {a_right_case_passes, 1},
        {wrong_numbers_fail, 1},
        {what_is_not_built_is_skipped, 1},
        {cases_come_from_the_manifest, 1},
        {zero_cases_fail, 1},
        {fp32_tolerances, 1},
        {infinities_are_exact_and_do_not_set_the_scale, 1},
        {counts_cases_of_an_implementation, 1},
        {refused_calls_fail, 1},
    };
    return run_tests("golden_runner", tests, sizeof tests / sizeof *tests);
}
