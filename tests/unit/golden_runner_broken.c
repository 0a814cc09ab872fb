/* The golden runner on cases that are broken: each fails with its reason, the next ones run. */
#include <sys/stat.h>
#include <unistd.h>

#include "tests/util/golden.h"

/* Each breaks one thing of a right case. */
static void no_array_file(const char *name)
{
    unlink(golden_in_case(name, "plane.npy"));
}

static void no_file_of_an_unused_array(const char *name)
{
    unlink(golden_in_case(name, "grid_channels.npy"));
}

static void no_case_json(const char *name)
{
    unlink(golden_in_case(name, "case.json"));
}

static void other_shape(const char *name)
{
    golden_save(name, "plane.npy", EQUINV_F64, 1, (int64_t[]){8}, (double[8]){0});
}

static void other_dtype(const char *name)
{
    golden_save(name, "plane.npy", EQUINV_F32, 3, (int64_t[]){2, 2, 2}, (double[8]){0});
}

static void truncated_array(const char *name)
{
    size_t size;
    char *const content = file_read(golden_in_case(name, "plane.npy"), &size);
    file_write(golden_in_case(name, "plane.npy"), content, size - 5);
    free(content);
}

static void array_is_no_npy(const char *name)
{
    file_write(golden_in_case(name, "plane.npy"), "hello", 5);
}

static void array_is_a_folder(const char *name)
{
    unlink(golden_in_case(name, "plane.npy"));
    mkdir(golden_in_case(name, "plane.npy"), 0777);
}

static void negative_tolerance(const char *name)
{
    golden_group(name, "-1");
}

static void tolerance_is_text(const char *name)
{
    golden_group(name, "\"big\"");
}

static void deep_json(const char *name)
{
    static char deep[200001];
    memset(deep, '[', sizeof deep - 1);
    golden_save_json(name, deep);
}

/* A gradient to compare with, but none to start from. */
static void no_incoming_gradient(const char *name)
{
    golden_save_json(name,
                     "{\"kind\": \"maxpool\", \"group\": \"C1\", \"fields_in\": [[\"regular\", 1]],"
                     "\"k\": 1, \"stride\": 1, \"padding\": 0, \"arrays\": {"
                     "\"src\": {\"shape\": [1, 1, 1, 1]}, \"dst\": {\"shape\": [1, 1, 1, 1]},"
                     "\"diff_src\": {\"shape\": [1, 1, 1, 1]}}}");
    static const char *const files[] = {"src.npy", "dst.npy", "diff_src.npy"};
    for (int i = 0; i < 3; i++)
        golden_save(name, files[i], EQUINV_F64, 4, (int64_t[]){1, 1, 1, 1}, (double[]){1});
}

/* What is projected, and no code of it. */
static void nothing_to_compare(const char *name)
{
    golden_save_json(name, "{\"kind\": \"projection\", \"group\": \"C2\", \"arrays\": {"
                           "\"z\": {\"shape\": [1, 1, 2, 1, 1]},"
                           "\"templates\": {\"shape\": [1, 1, 2, 1, 1]}}}");
    static const char *const files[] = {"z.npy", "templates.npy"};
    for (int i = 0; i < 2; i++)
        golden_save(name, files[i], EQUINV_F64, 5, (int64_t[]){1, 1, 2, 1, 1}, (double[]){1, 2});
}

/* A thing that is done to the right case, or a case.json instead of its own. */
static const struct {
    void (*break_it)(const char *name);
    const char *json, *word;
} broken[] = {
    {no_array_file, NULL, "plane.npy could not be opened"},
    {no_file_of_an_unused_array, NULL, "grid_channels"},
    {no_case_json, NULL, "no readable case.json"},
    {NULL, "{\"kind\": \"group\",\n \"group\": }", "line 2"},
    {NULL, "{\"kind\": \"group\"} and more", "no JSON"},
    {NULL, "", "no JSON"},
    {NULL, "[1, 2]", "no object"},
    {NULL, "{\"group\": \"C2\", \"arrays\": {}}", "no \"kind\""},
    {NULL, "{\"kind\": 3}", "\"kind\""},
    {NULL, "{\"kind\": \"group\", \"group\": \"C2\", \"order\": 2}", "\"arrays\""},
    {NULL, "{\"kind\": \"group\", \"group\": \"C2\", \"order\": 2, \"arrays\": [1]}", "\"arrays\""},
    {NULL, "{\"kind\": \"group\", \"order\": 2, \"arrays\": {}}", "\"group\""},
    {NULL, "{\"kind\": \"group\", \"group\": \"C2\", \"order\": 2.5, \"arrays\": {}}", "\"order\""},
    {other_shape, NULL, "shape"},
    {other_dtype, NULL, "f32"},
    {truncated_array, NULL, "has 59 bytes of data, expected 64"},
    {array_is_no_npy, NULL, "plane.npy starts with bytes"},
    {array_is_a_folder, NULL, "plane.npy could not be read"},
    {negative_tolerance, NULL, "\"rel\""},
    {tolerance_is_text, NULL, "\"rel\""},
    {NULL, "{\"kind\": \"group\", \"group\": \"C2\", \"order\": 2, \"arrays\": {}}", "\"irreps\""},
    {NULL,
     "{\"kind\": \"grouppool\", \"group\": \"C2\", \"fields_in\": [[\"regular\", "
     "1]], \"arrays\": {}}",
     "\"src\""},
    {NULL,
     "{\"kind\": \"grouppool\", \"group\": \"C2\", \"fields_in\": [\"regular\"], "
     "\"arrays\": {}}",
     "[kind, count]"},
    {deep_json, NULL, "no JSON"},
    {NULL,
     "{\"kind\": \"philox\", \"arrays\": {\"counter\": {\"shape\": [1]}, "
     "\"key\": {\"shape\": [1]}, \"output\": {\"shape\": [1]}, "
     "\"../x\": {\"shape\": [1]}}}",
     "counter"},
    {nothing_to_compare, NULL, "no array to compare with"},
    {no_incoming_gradient, NULL, "\"diff_dst\" is not listed"},
};
enum { BROKEN = sizeof broken / sizeof *broken };

/* A broken case fails with its reason, and the next ones still run. */
START_TEST(broken_cases_fail_with_a_reason)
{
    if (!golden_set_up())
        return;
    golden_group("a", "1e-12");
    if (broken[_i].json)
        golden_save_json("a", broken[_i].json);
    else
        broken[_i].break_it("a");
    golden_group("b", "1e-12");
    golden_save_manifest("{\"cases\": [{\"name\": \"a\"}, {\"name\": \"b\"}]}");
    const golden_result r = golden_run();
    HAS_LINE(r, "FAIL a - - malformed: ");
    const char *const end = strchr(r.text, '\n');
    const char *const word = strstr(r.text, broken[_i].word);
    ck_assert_msg(word && word < end, "\"%s\" is not in %s", broken[_i].word, r.text);
    HAS_LINE(r, "PASS b 0 ");
    ENDS(r, 1, 1, 0, 1);
    golden_tear_down();
}
END_TEST

int main(void)
{
    const test_entry tests[] = {
        {broken_cases_fail_with_a_reason, BROKEN},
    };
    return run_tests("golden_runner_broken", tests, sizeof tests / sizeof *tests);
}
