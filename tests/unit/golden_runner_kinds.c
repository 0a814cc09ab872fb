/* The golden runner on each kind of case: what it compares, and what it calls malformed. */
#include <math.h>

#include "tests/util/golden.h"

START_TEST(convolutions)
{
    if (!golden_set_up())
        return;
    golden_conv("a", REGULAR ", \"bias\": false", PSI, (double[]){3, 6});
    golden_conv("b", REGULAR ", \"bias\": true", PSI BIAS, (double[]){3.5, 6.5});
    golden_conv("c", REGULAR ", \"bias\": true", PSI BIAS EXPANDED, (double[]){3.25, 6.25});
    golden_conv("d", REGULAR ", \"bias\": true", PSI, (double[]){3, 6});
    golden_conv("e", REGULAR ", \"bias\": false", "", (double[]){3, 6});
    golden_conv("f", REGULAR ", \"bias\": false", PSI, (double[]){3, 6.001});
    golden_conv("g", REGULAR ", \"bias\": false, \"exact_for_grid_subgroup_elements\": [true]", PSI,
                (double[]){3, 6});
    golden_conv("h", REGULAR ", \"bias\": false, \"exact_for_grid_subgroup_elements\": [false]",
                PSI, (double[]){3, 6});
    golden_conv("i",
                REGULAR ", \"bias\": false, \"exact_for_grid_subgroup_elements\": [true, true]",
                PSI, (double[]){3, 6});
    golden_conv("j", "\"conv\": \"mixed\"", PSI, (double[]){3, 6});
    golden_conv("k",
                "\"conv\": \"lifting\", \"fields_in\": [[\"trivial\", 1]], \"fields_out\": "
                "[[\"regular\", 1], [\"irrep_1\", 1]]",
                PSI, (double[]){3, 6});
    golden_save_json("l", "{\"kind\": \"conv\", \"group\": \"C8\", " REGULAR ", \"arrays\": {}}");
    const golden_result r = golden_run();
    HAS_LINE(r, "PASS a 0 5e-06\n");
    HAS_LINE(r, "PASS b 0 5e-06\n");
    HAS_LINE(r, "PASS c 0 5e-06 without: bias\n");
    HAS_LINE(r, "FAIL d - - malformed: array \"bias\" is not listed");
    HAS_LINE(r, "FAIL e - - malformed: array \"psi\" is not listed");
    HAS_LINE(r, "FAIL f 0.000167 1e-10 dst[0, 0, 0, 1] (f64, ");
    HAS_LINE(r, "PASS g 0 5e-06\n");
    HAS_LINE(r, "FAIL h 1 0 exact_for_grid_subgroup_elements[0] is 1, expected 0");
    HAS_LINE(r, "FAIL i - - malformed: ");
    HAS_LINE(r, "SKIP j - - conv mixed is not built");
    HAS_LINE(r, "SKIP k - - fields of kind irrep_1 are not built");
    HAS_LINE(r, "SKIP l - - group C8 is not built here");
    ENDS(r, 4, 5, 3, 1);
    golden_tear_down();
}
END_TEST

/* Two rows of one channel, the second absent under the mask; `first` and `fill` are what is expected. */
static void rows_case(const char *name, double first, double fill)
{
    golden_save_json(name, "{\"kind\": \"rows\", \"arrays\": {\"x\": {\"shape\": [1, 2, 1]},"
                           "\"mask\": {\"shape\": [1, 2]}, \"templates\": {\"shape\": [1, 1]},"
                           "\"project_sort_masked\": {\"shape\": [1, 1, 2]}}}");
    golden_save(name, "x.npy", EQUINV_F64, 3, (int64_t[]){1, 2, 1}, (double[]){3, 1});
    golden_save(name, "mask.npy", EQUINV_I32, 2, (int64_t[]){1, 2}, (double[]){1, 0});
    golden_save(name, "templates.npy", EQUINV_F64, 2, (int64_t[]){1, 1}, (double[]){2});
    golden_save(name, "project_sort_masked.npy", EQUINV_F64, 3, (int64_t[]){1, 1, 2},
                (double[]){first, fill});
}

START_TEST(rows_with_a_mask)
{
    if (!golden_set_up())
        return;
    rows_case("a", 6, (double)INFINITY);
    rows_case("b", 2, (double)INFINITY);
    rows_case("c", 6, -(double)INFINITY);
    rows_case("d", 6, 2);
    const golden_result r = golden_run();
    HAS_LINE(r, "PASS a 0 5e-06\n");
    HAS_LINE(r, "FAIL b 2 1e-10 project_sort_masked[0, 0, 0] ");
    HAS_LINE(r, "FAIL c inf ");
    HAS_LINE(r, "FAIL d inf ");
    ENDS(r, 1, 3, 0, 1);
    golden_tear_down();
}
END_TEST

/* One vector of C2 and the template (1, 0): the orbit's products are 1 and 2, so g = 1 attains the max. */
static void projection_case(const char *name, double max, int winner)
{
    golden_save_json(name,
                     "{\"kind\": \"projection\", \"group\": \"C2\", \"arrays\": {"
                     "\"z\": {\"shape\": [1, 1, 2, 1, 1]}, \"templates\": {\"shape\": [1, 1, 2, 1, "
                     "1]}, \"max\": {\"shape\": [1, 1]}, \"argmax\": {\"shape\": [1, 1]},"
                     "\"moment5\": {\"shape\": [1, 1]}}}");
    golden_save(name, "z.npy", EQUINV_F64, 5, (int64_t[]){1, 1, 2, 1, 1}, (double[]){1, 2});
    golden_save(name, "templates.npy", EQUINV_F64, 5, (int64_t[]){1, 1, 2, 1, 1}, (double[]){1, 0});
    golden_save(name, "max.npy", EQUINV_F64, 2, (int64_t[]){1, 1}, &max);
    golden_save(name, "argmax.npy", EQUINV_I32, 2, (int64_t[]){1, 1}, (double[]){winner});
    golden_save(name, "moment5.npy", EQUINV_F64, 2, (int64_t[]){1, 1}, (double[]){4.5});
}

START_TEST(projections)
{
    if (!golden_set_up())
        return;
    projection_case("a", 2, 1);
    projection_case("b", 2, 0);
    projection_case("c", 1, 1);
    const golden_result r = golden_run();
    HAS_LINE(r, "PASS a 0 5e-06 without: moment5\n");
    HAS_LINE(r, "FAIL b 1 0 argmax[0, 0] (f64, ");
    HAS_LINE(r, "FAIL c 1 1e-10 max[0, 0] (f64, ");
    ENDS(r, 1, 2, 0, 1);
    golden_tear_down();
}
END_TEST

/* Layers are read before the checkpoint, so these need none. */
START_TEST(layers_of_checkpoints)
{
    static const struct {
        const char *group, *layers, *more, *line;
    } cases[] = {
        {"C4", "\"R2Conv trivial->2 regular k3 p1\"", "",
         "FAIL a - - equinv_model_load_escnn (f64): "},
        {"C4", "\"R2Conv 1 trivial -> 2 regular k3 s2 p1 d1 g1\"", "",
         "FAIL b - - equinv_model_load_escnn (f64): EQUINV_ERR_IO"},
        {"C8", "\"R2Conv trivial->2 regular k3\"", "", "SKIP c - - group C8 is not built"},
        {"SO2", "\"R2Conv trivial->2 regular k3\"", "", "SKIP d - - group SO2 is not built"},
        {"C4", "\"R2Conv trivial->2 regular 1 trivial k3\"", "", "SKIP e - - layer "},
        {"C4", "\"R2Conv trivial->2 irrep_1 k3\"", "", "SKIP f - - layer "},
        {"C4", "\"Upsample\"", "", "SKIP g - - layer \"Upsample\" is not built"},
        {"C4", "\"R2Conv trivial 2 regular k3\"", "", "FAIL h - - malformed: layer "},
        {"C4", "\"R2Conv trivial->2 regular\"", "", "FAIL i - - malformed: layer "},
        {"C4", "\"R2Conv ->2 regular k3\"", "", "FAIL j - - malformed: layer "},
        {"C4", "\"R2Conv trivial->x regular k3\"", "", "FAIL k - - malformed: layer "},
        {"C4", "\"\"", "", "FAIL l - - malformed: layer 0 is empty"},
        {"C4", "3", "", "FAIL m - - malformed: \"layers\""},
        {"C4", "", "", "FAIL n - - malformed: \"layers\""},
        {"C4", "\"ReLU\"", "\"files\": {\"train.safetensors\": \"\"},",
         "SKIP o - - there is no evaluation form"},
        {"C4", "\"R2Conv trivial->2 regular k9\"", "", "FAIL p - - equinv_model_add (f64): "},
    };
    enum { CASES = sizeof cases / sizeof *cases };
    if (!golden_set_up())
        return;
    for (int i = 0; i < CASES; i++) {
        const char name[2] = {(char)('a' + i), '\0'};
        char json[512];
        snprintf(json, sizeof json,
                 "{\"kind\": \"checkpoint\", \"group\": \"%s\", \"layers\": [%s], %s \"arrays\": "
                 "{\"src\": {\"shape\": [1, 1, 5, 5]}, \"dst\": {\"shape\": [1, 8, 5, 5]}}}",
                 cases[i].group, cases[i].layers, cases[i].more);
        golden_save_json(name, json);
        const double zeros[200] = {0};
        golden_save(name, "src.npy", EQUINV_F32, 4, (int64_t[]){1, 1, 5, 5}, zeros);
        golden_save(name, "dst.npy", EQUINV_F32, 4, (int64_t[]){1, 8, 5, 5}, zeros);
    }
    const golden_result r = golden_run();
    for (int i = 0; i < CASES; i++)
        HAS_LINE(r, cases[i].line);
    ENDS(r, 0, 10, 6, 1);
    golden_tear_down();
}
END_TEST

int main(void)
{
    const test_entry tests[] = {
        {convolutions, 1},
        {rows_with_a_mask, 1},
        {projections, 1},
        {layers_of_checkpoints, 1},
    };
    return run_tests("golden_runner_kinds", tests, sizeof tests / sizeof *tests);
}
