/* The golden runner itself: folders with right, wrong and broken cases, its lines and exit status. */
#define _XOPEN_SOURCE 700 /* nftw */
#include <ftw.h>
#include <math.h>
#include <sys/stat.h>
#include <sys/wait.h>
#include <unistd.h>

#include "tests/util/files.h"

static equinv_context *ctx;
static temp_folder root;

/* build/tests/golden/run lies beside build/tests/unit. */
static const char *runner(void)
{
    static char path[4096 + 32];
    char self[4096];
    const ssize_t length = readlink("/proc/self/exe", self, sizeof self - 1);
    ck_assert(length > 0);
    self[length] = '\0';
    for (int up = 0; up < 2; up++)
        *strrchr(self, '/') = '\0';
    snprintf(path, sizeof path, "%s/golden/run", self);
    return path;
}

typedef struct result {
    char text[16384];
    int status; /* exit status, -1 for a crash */
} result;

static result run_with(const char *arguments)
{
    char command[8192];
    result r = {.status = -1};
    snprintf(command, sizeof command, "'%s' %s 2>/dev/null", runner(), arguments);
    FILE *const pipe = popen(command, "r");
    ck_assert_ptr_nonnull(pipe);
    r.text[fread(r.text, 1, sizeof r.text - 1, pipe)] = '\0';
    const int status = pclose(pipe);
    if (WIFEXITED(status))
        r.status = WEXITSTATUS(status);
    return r;
}

static result run_root(void)
{
    char quoted[256];
    snprintf(quoted, sizeof quoted, "'%s'", root.path);
    return run_with(quoted);
}

static int remove_entry(const char *path, const struct stat *status, int type, struct FTW *ftw)
{
    (void)status;
    (void)type;
    (void)ftw;
    return remove(path);
}

/* The line that begins so must be there, and end in a newline. */
#define HAS_LINE(r, beginning) check_line(&(r), beginning, __LINE__)
static void check_line(const result *r, const char *beginning, int line)
{
    const size_t length = strlen(beginning);
    for (const char *p = r->text; *p; p = strchr(p, '\n') + 1) {
        ck_assert_msg(strchr(p, '\n'), "line %d: no newline at the end of:\n%s", line, r->text);
        if (strncmp(p, beginning, length) == 0)
            return;
    }
    ck_abort_msg("line %d: no line begins \"%s\" in:\n%s", line, beginning, r->text);
}

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

static const char *in_case(const char *name, const char *file)
{
    char path[300];
    snprintf(path, sizeof path, "%s/%s", name, file);
    return temp_path(&root, path);
}

static void save(const char *name, const char *file, equinv_dtype dtype, int32_t ndim,
                 const int64_t *shape, const double *values)
{
    equinv_tensor t;
    OK(equinv_tensor_create(ctx, dtype, ndim, shape, &t));
    for (int64_t i = 0; i < equinv_tensor_count(&t); i++)
        tensor_set(&t, i, values[i]);
    OK(equinv_tensor_save(ctx, in_case(name, file), &t));
    equinv_tensor_destroy(ctx, &t);
}

static void save_json(const char *name, const char *text)
{
    mkdir(temp_path(&root, name), 0777);
    file_write(in_case(name, "case.json"), text, strlen(text));
}

static void save_manifest(const char *text)
{
    file_write(temp_path(&root, "manifest.json"), text, strlen(text));
}

static const int64_t matrices[3] = {2, 2, 2};
static const double plane[8] = {1, 0, 0, 1, -1, 0, 0, -1};

/* The group C2, right in every number; `stated` is the tolerance it asks for. */
static void group_case(const char *name, const char *stated)
{
    char json[1024];
    snprintf(json, sizeof json,
             "{\"kind\": \"group\", \"group\": \"C2\", \"order\": 2, \"irreps\": [[0], [1]],\n"
             "\"tolerance\": {\"rel\": %s}, \"arrays\": {\n"
             "\"mul\": {\"shape\": [2, 2], \"dtype\": \"int32\"},\n"
             "\"plane\": {\"shape\": [2, 2, 2], \"dtype\": \"float64\"},\n"
             "\"irrep_0\": {\"shape\": [2, 1, 1], \"dtype\": \"float64\"},\n"
             "\"irrep_1\": {\"shape\": [2, 1, 1], \"dtype\": \"float64\"},\n"
             "\"grid_channels\": {\"shape\": [1, 2], \"dtype\": \"int32\"}}}",
             stated);
    save_json(name, json);
    save(name, "mul.npy", EQUINV_I32, 2, (int64_t[]){2, 2}, (double[]){0, 1, 1, 0});
    save(name, "plane.npy", EQUINV_F64, 3, matrices, plane);
    save(name, "irrep_0.npy", EQUINV_F64, 3, (int64_t[]){2, 1, 1}, (double[]){1, 1});
    save(name, "irrep_1.npy", EQUINV_F64, 3, (int64_t[]){2, 1, 1}, (double[]){1, -1});
    save(name, "grid_channels.npy", EQUINV_I32, 2, (int64_t[]){1, 2}, (double[]){0, 1});
}

/* The same with one number of the plane matrices changed. */
static void group_case_with(const char *name, const char *stated, double value)
{
    double changed[8];
    memcpy(changed, plane, sizeof changed);
    changed[7] = value;
    group_case(name, stated);
    save(name, "plane.npy", EQUINV_F64, 3, matrices, changed);
}

/* Group pooling of one C2 field on a row of three pixels; `more` are further members of case.json. */
static void pool_case(const char *name, const char *more, const double src[6], const double dst[3])
{
    char json[1024];
    snprintf(json, sizeof json,
             "{\"kind\": \"grouppool\", \"group\": \"C2\", \"fields_in\": [[\"regular\", 1]], %s\n"
             "\"arrays\": {\"src\": {\"shape\": [1, 2, 1, 3], \"dtype\": \"float64\"},\n"
             "\"dst\": {\"shape\": [1, 1, 1, 3], \"dtype\": \"float64\"}}}",
             more);
    save_json(name, json);
    save(name, "src.npy", EQUINV_F64, 4, (int64_t[]){1, 2, 1, 3}, src);
    save(name, "dst.npy", EQUINV_F64, 4, (int64_t[]){1, 1, 1, 3}, dst);
}

/* ---- tests ------------------------------------------------------------------------------------ */

static void set_up(void)
{
    ctx = context_new();
    root = temp_folder_new();
}

static void tear_down(void)
{
    nftw(root.path, remove_entry, 8, FTW_DEPTH | FTW_PHYS);
    equinv_context_destroy(ctx);
}

/* False in a build whose runner cannot read case.json. */
static bool can_run(void)
{
#ifdef EQI_HAVE_CJSON
    return true;
#else
    SKIP("this build has no cJSON");
    return false;
#endif
}

START_TEST(without_cjson_it_says_so)
{
#ifdef EQI_HAVE_CJSON
    SKIP("this build has cJSON");
#else
    const result r = run_with("/nowhere");
    ck_assert_str_eq(r.text, "SKIP golden: this build has no cJSON\n");
    ck_assert_int_eq(r.status, 0);
#endif
}
END_TEST

START_TEST(a_right_case_passes)
{
    if (!can_run())
        return;
    set_up();
    group_case("right", "1e-12");
    const result r = run_root();
    HAS_LINE(r, "PASS right 0 1e-10 without: grid_channels\n");
    ENDS(r, 1, 0, 0, 0);
    tear_down();
}
END_TEST

START_TEST(wrong_numbers_fail)
{
    if (!can_run())
        return;
    set_up();
    group_case("a_right", "1e-12");
    group_case_with("b_wrong", "1e-12", -0.999);
    group_case_with("c_nan", "1e-12", (double)NAN);
    group_case_with("d_infinite", "1e-12", (double)INFINITY);
    group_case_with("e_within", "1e-6", -1 + 1e-8);
    group_case_with("f_at_least_1e-10", "1e-12", -1 + 1e-11);
    group_case_with("g_beyond", "1e-12", -1 + 1e-8);
    group_case_with("h_no_excuse", "1e300", (double)NAN);
    group_case("i_integer", "1e-1");
    save("i_integer", "mul.npy", EQUINV_I32, 2, (int64_t[]){2, 2}, (double[]){0, 1, 1, 1});
    const result r = run_root();
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
    tear_down();
}
END_TEST

/* Each breaks one thing of a right case. */
static void no_array_file(const char *name)
{
    unlink(in_case(name, "plane.npy"));
}

static void no_file_of_an_unused_array(const char *name)
{
    unlink(in_case(name, "grid_channels.npy"));
}

static void no_case_json(const char *name)
{
    unlink(in_case(name, "case.json"));
}

static void broken_json(const char *name)
{
    save_json(name, "{\"kind\": \"group\",\n \"group\": }");
}

static void json_with_a_tail(const char *name)
{
    save_json(name, "{\"kind\": \"group\"} and more");
}

static void empty_json(const char *name)
{
    save_json(name, "");
}

static void json_list(const char *name)
{
    save_json(name, "[1, 2]");
}

static void no_kind(const char *name)
{
    save_json(name, "{\"group\": \"C2\", \"arrays\": {}}");
}

static void kind_is_a_number(const char *name)
{
    save_json(name, "{\"kind\": 3}");
}

static void no_arrays(const char *name)
{
    save_json(name, "{\"kind\": \"group\", \"group\": \"C2\", \"order\": 2}");
}

static void arrays_is_a_list(const char *name)
{
    save_json(name, "{\"kind\": \"group\", \"group\": \"C2\", \"order\": 2, \"arrays\": [1]}");
}

static void no_group(const char *name)
{
    save_json(name, "{\"kind\": \"group\", \"order\": 2, \"arrays\": {}}");
}

static void order_is_a_fraction(const char *name)
{
    save_json(name, "{\"kind\": \"group\", \"group\": \"C2\", \"order\": 2.5, \"arrays\": {}}");
}

static void other_shape(const char *name)
{
    save(name, "plane.npy", EQUINV_F64, 1, (int64_t[]){8}, plane);
}

static void other_dtype(const char *name)
{
    save(name, "plane.npy", EQUINV_F32, 3, matrices, plane);
}

static void truncated_array(const char *name)
{
    size_t size;
    char *const content = file_read(in_case(name, "plane.npy"), &size);
    file_write(in_case(name, "plane.npy"), content, size - 5);
    free(content);
}

static void array_is_no_npy(const char *name)
{
    file_write(in_case(name, "plane.npy"), "hello", 5);
}

static void array_is_a_folder(const char *name)
{
    unlink(in_case(name, "plane.npy"));
    mkdir(in_case(name, "plane.npy"), 0777);
}

static void negative_tolerance(const char *name)
{
    group_case(name, "-1");
}

static void tolerance_is_text(const char *name)
{
    group_case(name, "\"big\"");
}

static void irreps_missing(const char *name)
{
    save_json(name, "{\"kind\": \"group\", \"group\": \"C2\", \"order\": 2, \"arrays\": {}}");
}

static void nothing_to_compare(const char *name)
{
    save_json(name, "{\"kind\": \"grouppool\", \"group\": \"C2\", \"fields_in\": [[\"regular\", "
                    "1]], \"arrays\": {}}");
}

static void fields_are_wrong(const char *name)
{
    save_json(name, "{\"kind\": \"grouppool\", \"group\": \"C2\", \"fields_in\": [\"regular\"], "
                    "\"arrays\": {}}");
}

static void deep_json(const char *name)
{
    static char deep[200001];
    memset(deep, '[', sizeof deep - 1);
    save_json(name, deep);
}

static void array_outside(const char *name)
{
    save_json(name, "{\"kind\": \"philox\", \"arrays\": {\"counter\": {\"shape\": [1]}, "
                    "\"key\": {\"shape\": [1]}, \"output\": {\"shape\": [1]}, "
                    "\"../x\": {\"shape\": [1]}}}");
}

/* A gradient to compare with, but none to start from. */
static void no_incoming_gradient(const char *name)
{
    save_json(name, "{\"kind\": \"maxpool\", \"group\": \"C1\", \"fields_in\": [[\"regular\", 1]],"
                    "\"k\": 1, \"stride\": 1, \"padding\": 0, \"arrays\": {"
                    "\"src\": {\"shape\": [1, 1, 1, 1]}, \"dst\": {\"shape\": [1, 1, 1, 1]},"
                    "\"diff_src\": {\"shape\": [1, 1, 1, 1]}}}");
    static const char *const files[] = {"src.npy", "dst.npy", "diff_src.npy"};
    for (int i = 0; i < 3; i++)
        save(name, files[i], EQUINV_F64, 4, (int64_t[]){1, 1, 1, 1}, (double[]){1});
}

static const struct {
    void (*break_it)(const char *name);
    const char *word;
} broken[] = {
    {no_array_file, "plane"},
    {no_file_of_an_unused_array, "grid_channels"},
    {no_case_json, "no readable case.json"},
    {broken_json, "line 2"},
    {json_with_a_tail, "no JSON"},
    {empty_json, "no JSON"},
    {json_list, "no object"},
    {no_kind, "no \"kind\""},
    {kind_is_a_number, "\"kind\""},
    {no_arrays, "\"arrays\""},
    {arrays_is_a_list, "\"arrays\""},
    {no_group, "\"group\""},
    {order_is_a_fraction, "\"order\""},
    {other_shape, "shape"},
    {other_dtype, "f32"},
    {truncated_array, "plane"},
    {array_is_no_npy, "plane"},
    {array_is_a_folder, "plane"},
    {negative_tolerance, "\"rel\""},
    {tolerance_is_text, "\"rel\""},
    {irreps_missing, "\"irreps\""},
    {nothing_to_compare, "\"src\""},
    {fields_are_wrong, "[kind, count]"},
    {deep_json, "no JSON"},
    {array_outside, "counter"},
    {no_incoming_gradient, "\"diff_dst\" is not listed"},
};
enum { BROKEN = sizeof broken / sizeof *broken };

/* A broken case fails with its reason, and the next ones still run. */
START_TEST(broken_cases_fail_with_a_reason)
{
    if (!can_run())
        return;
    set_up();
    group_case("a", "1e-12");
    broken[_i].break_it("a");
    group_case("b", "1e-12");
    save_manifest("{\"cases\": [{\"name\": \"a\"}, {\"name\": \"b\"}]}");
    const result r = run_root();
    HAS_LINE(r, "FAIL a - - malformed: ");
    const char *const end = strchr(r.text, '\n');
    const char *const word = strstr(r.text, broken[_i].word);
    ck_assert_msg(word && word < end, "\"%s\" is not in %s", broken[_i].word, r.text);
    HAS_LINE(r, "PASS b 0 ");
    ENDS(r, 1, 1, 0, 1);
    tear_down();
}
END_TEST

START_TEST(what_is_not_built_is_skipped)
{
    if (!can_run())
        return;
    set_up();
    save_json("a", "{\"kind\": \"unheard\", \"arrays\": {\"src\": {\"shape\": [1]}}}");
    save_json("b", "{\"kind\": \"group\", \"group\": \"SO2\", \"arrays\": {}}");
    save_json("c", "{\"kind\": \"two\\nlines\", \"arrays\": {}}");
    save_json("d", "{\"kind\": \"grouppool\", \"group\": \"C2\", \"fields_in\": "
                   "[[\"irrep_1\", 2]], \"arrays\": {}}");
    const result r = run_root();
    HAS_LINE(r, "SKIP a - - kind unheard is not built\n");
    HAS_LINE(r, "SKIP b - - group SO2 is not built\n");
    HAS_LINE(r, "SKIP c - - kind two?lines is not built\n");
    HAS_LINE(r, "SKIP d - - fields of kind irrep_1 are not built\n");
    ENDS(r, 0, 0, 4, 0);
    tear_down();
}
END_TEST

START_TEST(cases_come_from_the_manifest)
{
    if (!can_run())
        return;
    set_up();
    group_case("listed", "1e-12");
    group_case_with("unlisted", "1e-12", 5);
    save_manifest("{\"cases\": [{\"name\": \"listed\", \"kind\": \"group\"}]}");
    result r = run_root();
    HAS_LINE(r, "PASS listed ");
    ENDS(r, 1, 0, 0, 0);

    save_manifest("{\"cases\": [{\"name\": \"listed\"}, {\"name\": \"gone\"}]}");
    r = run_root();
    HAS_LINE(r, "FAIL gone - - malformed: ");
    ENDS(r, 1, 1, 0, 1);

    save_manifest("{\"cases\": [{\"name\": \"../listed\"}, {\"kind\": \"group\"}, 7]}");
    r = run_root();
    HAS_LINE(r, "FAIL ../listed - - malformed: ");
    HAS_LINE(r, "FAIL ? - - malformed: ");
    ENDS(r, 0, 3, 0, 1);

    save_manifest("{\"cases\": []}");
    r = run_root();
    ENDS(r, 0, 0, 0, 1);

    save_manifest("{\"cases\": "); /* fails, and whatever is there runs */
    r = run_root();
    HAS_LINE(r, "FAIL manifest.json - - malformed: ");
    HAS_LINE(r, "PASS listed ");
    HAS_LINE(r, "FAIL unlisted ");
    ENDS(r, 1, 2, 0, 1);

    unlink(temp_path(&root, "manifest.json"));
    r = run_root();
    ENDS(r, 1, 1, 0, 1);
    tear_down();
}
END_TEST

START_TEST(zero_cases_fail)
{
    if (!can_run())
        return;
    set_up();
    result r = run_root();
    ENDS(r, 0, 0, 0, 1);
    mkdir(temp_path(&root, "no_case_in_it"), 0777);
    r = run_root();
    ENDS(r, 0, 0, 0, 1);
    r = run_with("/nowhere/at/all");
    ENDS(r, 0, 0, 0, 1);
    r = run_with("");
    ck_assert_int_eq(r.status, 2);
    tear_down();
}
END_TEST

/* 1 + 2^-25 is no fp32 number: fp32 is off by 2^-25 / 2, fp64 exact, so the line shows fp32's tolerance. */
START_TEST(fp32_tolerances)
{
    if (!can_run())
        return;
    set_up();
    const double src[6] = {1 + 0x1p-25, 0.5, -1, 0.25, 0.75, -2}, dst[3] = {src[0], 0.75, -1};
    pool_case("a", "", src, dst);
    pool_case("b", "\"tolerance\": {\"rel\": 1e-12},", src, dst);
    pool_case("c", "\"tolerance\": {\"rel\": 1e-4},", src, dst);
    pool_case("d", "\"fp32_dense_rel_error\": {\"dst\": 1e-6},", src, dst);
    pool_case("e", "\"fp32_dense_rel_error\": {\"dst\": 1e-9},", src, dst);
    pool_case("f", "\"tolerance\": {\"rel\": 1e-4}, \"fp32_dense_rel_error\": {\"dst\": 1e-9},",
              src, dst);
    pool_case("g", "\"fp32_dense_rel_error\": {\"diff_src\": 1e-9},", src, dst);
    pool_case("h", "\"fp32_dense_rel_error\": {\"dst\": \"x\"},", src, dst);
    const result r = run_root();
    HAS_LINE(r, "PASS a 2.98e-08 5e-06\n");
    HAS_LINE(r, "PASS b 2.98e-08 5e-06\n");
    HAS_LINE(r, "PASS c 2.98e-08 0.0001\n");
    HAS_LINE(r, "PASS d 2.98e-08 4e-06\n");
    HAS_LINE(r, "PASS e 2.98e-08 1e-06\n");
    HAS_LINE(r, "PASS f 2.98e-08 1e-06\n");
    HAS_LINE(r, "PASS g 2.98e-08 5e-06\n");
    HAS_LINE(r, "FAIL h - - malformed: ");
    ENDS(r, 7, 1, 0, 1);
    tear_down();
}
END_TEST

/* Differences count in relation to the largest finite value; infinities must agree. */
START_TEST(infinities_are_exact_and_do_not_set_the_scale)
{
    if (!can_run())
        return;
    set_up();
    const double inf = (double)INFINITY;
    const double src[6] = {inf, 100, -inf, 0, 0, -inf};
    pool_case("a", "", src, (double[]){inf, 100, -inf});
    pool_case("b", "", src, (double[]){inf, 101, -inf});
    pool_case("c", "", src, (double[]){inf, 100, inf});
    pool_case("d", "", src, (double[]){1e30, 100, -inf});
    pool_case("e", "", src, (double[]){inf, inf, -inf});
    pool_case("f", "\"tolerance\": {\"rel\": 0.5},", src, (double[]){inf, 101, -inf});
    const result r = run_root();
    HAS_LINE(r, "PASS a 0 5e-06\n");
    HAS_LINE(r, "FAIL b 0.0099 1e-10 dst[0, 0, 0, 1] (f64, ");
    HAS_LINE(r, "FAIL c inf ");
    HAS_LINE(r, "FAIL d inf ");
    HAS_LINE(r, "FAIL e inf ");
    HAS_LINE(r, "PASS f 0.0099 0.5\n");
    ENDS(r, 2, 4, 0, 1);
    tear_down();
}
END_TEST

/*
 * One field of C1, a 1 x 1 kernel: dst = 3 src + bias. `arrays` are further entries beside src, psi
 * and dst; `more` further members.
 */
static void conv_case(const char *name, const char *more, const char *arrays, const double dst[2])
{
    char json[1024];
    snprintf(json, sizeof json,
             "{\"kind\": \"conv\", \"group\": \"C1\", \"batch\": 1, \"height\": 1, \"width\": 2,\n"
             "\"k\": 1, \"stride\": 1, \"padding\": 0, \"dilation\": 1, %s, \"arrays\": {\n"
             "\"src\": {\"shape\": [1, 1, 1, 2]}, \"dst\": {\"shape\": [1, 1, 1, 2]}%s}}",
             more, arrays);
    save_json(name, json);
    save(name, "src.npy", EQUINV_F32, 4, (int64_t[]){1, 1, 1, 2}, (double[]){1, 2});
    save(name, "psi.npy", EQUINV_F64, 5, (int64_t[]){1, 1, 1, 1, 1}, (double[]){3});
    save(name, "dst.npy", EQUINV_F64, 4, (int64_t[]){1, 1, 1, 2}, dst);
    save(name, "bias.npy", EQUINV_F64, 1, (int64_t[]){1}, (double[]){0.5});
    save(name, "expanded_bias.npy", EQUINV_F64, 1, (int64_t[]){1}, (double[]){0.25});
}

#define REGULAR                                                                                    \
    "\"conv\": \"regular\", \"fields_in\": [[\"regular\", 1]], \"fields_out\": [[\"regular\", 1]]"
#define PSI ", \"psi\": {\"shape\": [1, 1, 1, 1, 1]}"
#define BIAS ", \"bias\": {\"shape\": [1]}"
#define EXPANDED ", \"expanded_bias\": {\"shape\": [1]}"

START_TEST(convolutions)
{
    if (!can_run())
        return;
    set_up();
    conv_case("a", REGULAR ", \"bias\": false", PSI, (double[]){3, 6});
    conv_case("b", REGULAR ", \"bias\": true", PSI BIAS, (double[]){3.5, 6.5});
    conv_case("c", REGULAR ", \"bias\": true", PSI BIAS EXPANDED, (double[]){3.25, 6.25});
    conv_case("d", REGULAR ", \"bias\": true", PSI, (double[]){3, 6});
    conv_case("e", REGULAR ", \"bias\": false", "", (double[]){3, 6});
    conv_case("f", REGULAR ", \"bias\": false", PSI, (double[]){3, 6.001});
    conv_case("g", REGULAR ", \"bias\": false, \"exact_for_grid_subgroup_elements\": [true]", PSI,
              (double[]){3, 6});
    conv_case("h", REGULAR ", \"bias\": false, \"exact_for_grid_subgroup_elements\": [false]", PSI,
              (double[]){3, 6});
    conv_case("i", REGULAR ", \"bias\": false, \"exact_for_grid_subgroup_elements\": [true, true]",
              PSI, (double[]){3, 6});
    conv_case("j", "\"conv\": \"mixed\"", PSI, (double[]){3, 6});
    conv_case("k",
              "\"conv\": \"lifting\", \"fields_in\": [[\"trivial\", 1]], \"fields_out\": "
              "[[\"regular\", 1], [\"irrep_1\", 1]]",
              PSI, (double[]){3, 6});
    const result r = run_root();
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
    ENDS(r, 4, 5, 2, 1);
    tear_down();
}
END_TEST

/* Implementations that the command names are counted; none of several cases is a failure. */
START_TEST(counts_cases_of_an_implementation)
{
    if (!can_run())
        return;
    set_up();
    char command[300];
    pool_case("a", "\"mode\": \"max\",", (double[6]){0}, (double[3]){0});
    snprintf(command, sizeof command, "'%s' conv/ref conv/other", root.path);
    result r = run_with(command);
    HAS_LINE(r, "0 of 0 by conv/ref in f32\n");
    ENDS(r, 1, 0, 0, 0);
    conv_case("b", REGULAR ", \"bias\": false", PSI, (double[]){3, 6});
    conv_case("c", REGULAR ", \"bias\": false", PSI, (double[]){3, 6.001}); /* fails: not counted */
    r = run_with(command);
    HAS_LINE(r, "1 of 1 by conv/ref in f32\n");
    HAS_LINE(r, "0 of 1 by conv/other in f32\n");
    ENDS(r, 2, 1, 0, 1);
    nftw(in_case("c", ""), remove_entry, 8, FTW_DEPTH | FTW_PHYS);
    r = run_with(command);
    ENDS(r, 2, 0, 0, 1);
    snprintf(command, sizeof command, "'%s' conv/ref", root.path);
    r = run_with(command);
    ENDS(r, 2, 0, 0, 0);
    tear_down();
}
END_TEST

/* Two rows of one channel, the second absent under the mask; `first` and `fill` are what is expected. */
static void rows_case(const char *name, double first, double fill)
{
    save_json(name, "{\"kind\": \"rows\", \"arrays\": {\"x\": {\"shape\": [1, 2, 1]},"
                    "\"mask\": {\"shape\": [1, 2]}, \"templates\": {\"shape\": [1, 1]},"
                    "\"project_sort_masked\": {\"shape\": [1, 1, 2]}}}");
    save(name, "x.npy", EQUINV_F64, 3, (int64_t[]){1, 2, 1}, (double[]){3, 1});
    save(name, "mask.npy", EQUINV_I32, 2, (int64_t[]){1, 2}, (double[]){1, 0});
    save(name, "templates.npy", EQUINV_F64, 2, (int64_t[]){1, 1}, (double[]){2});
    save(name, "project_sort_masked.npy", EQUINV_F64, 3, (int64_t[]){1, 1, 2},
         (double[]){first, fill});
}

START_TEST(rows_with_a_mask)
{
    if (!can_run())
        return;
    set_up();
    rows_case("a", 6, (double)INFINITY);
    rows_case("b", 2, (double)INFINITY);
    rows_case("c", 6, -(double)INFINITY);
    rows_case("d", 6, 2);
    const result r = run_root();
    HAS_LINE(r, "PASS a 0 5e-06\n");
    HAS_LINE(r, "FAIL b 2 1e-10 project_sort_masked[0, 0, 0] ");
    HAS_LINE(r, "FAIL c inf ");
    HAS_LINE(r, "FAIL d inf ");
    ENDS(r, 1, 3, 0, 1);
    tear_down();
}
END_TEST

/* One vector of C2 and the template (1, 0): the orbit's products are 1 and 2, so g = 1 attains the max. */
static void projection_case(const char *name, double max, int winner)
{
    save_json(name, "{\"kind\": \"projection\", \"group\": \"C2\", \"arrays\": {"
                    "\"z\": {\"shape\": [1, 1, 2, 1, 1]}, \"templates\": {\"shape\": [1, 1, 2, 1, "
                    "1]}, \"max\": {\"shape\": [1, 1]}, \"argmax\": {\"shape\": [1, 1]},"
                    "\"moment5\": {\"shape\": [1, 1]}}}");
    save(name, "z.npy", EQUINV_F64, 5, (int64_t[]){1, 1, 2, 1, 1}, (double[]){1, 2});
    save(name, "templates.npy", EQUINV_F64, 5, (int64_t[]){1, 1, 2, 1, 1}, (double[]){1, 0});
    save(name, "max.npy", EQUINV_F64, 2, (int64_t[]){1, 1}, &max);
    save(name, "argmax.npy", EQUINV_I32, 2, (int64_t[]){1, 1}, (double[]){winner});
    save(name, "moment5.npy", EQUINV_F64, 2, (int64_t[]){1, 1}, (double[]){4.5});
}

START_TEST(projections)
{
    if (!can_run())
        return;
    set_up();
    projection_case("a", 2, 1);
    projection_case("b", 2, 0);
    projection_case("c", 1, 1);
    const result r = run_root();
    HAS_LINE(r, "PASS a 0 5e-06 without: moment5\n");
    HAS_LINE(r, "FAIL b 1 0 argmax[0, 0] (f64, ");
    HAS_LINE(r, "FAIL c 1 1e-10 max[0, 0] (f64, ");
    ENDS(r, 1, 2, 0, 1);
    tear_down();
}
END_TEST

/* Layers are read before the checkpoint, so these need none. */
START_TEST(layers_of_checkpoints)
{
    if (!can_run())
        return;
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
    set_up();
    for (int i = 0; i < CASES; i++) {
        const char name[2] = {(char)('a' + i), '\0'};
        char json[512];
        snprintf(json, sizeof json,
                 "{\"kind\": \"checkpoint\", \"group\": \"%s\", \"layers\": [%s], %s \"arrays\": "
                 "{\"src\": {\"shape\": [1, 1, 5, 5]}, \"dst\": {\"shape\": [1, 8, 5, 5]}}}",
                 cases[i].group, cases[i].layers, cases[i].more);
        save_json(name, json);
        const double zeros[200] = {0};
        save(name, "src.npy", EQUINV_F32, 4, (int64_t[]){1, 1, 5, 5}, zeros);
        save(name, "dst.npy", EQUINV_F32, 4, (int64_t[]){1, 8, 5, 5}, zeros);
    }
    const result r = run_root();
    for (int i = 0; i < CASES; i++)
        HAS_LINE(r, cases[i].line);
    ENDS(r, 0, 10, 6, 1);
    tear_down();
}
END_TEST

/* A call that the library refuses is a failure with the library's sentence. */
START_TEST(refused_calls_fail)
{
    if (!can_run())
        return;
    set_up();
    save_json("a", "{\"kind\": \"maxpool\", \"group\": \"C2\", \"fields_in\": [[\"regular\", 1]],"
                   "\"k\": 9, \"stride\": 1, \"padding\": 0, \"arrays\": {\"src\": {\"shape\": "
                   "[1, 2, 1, 3]}, \"dst\": {\"shape\": [1, 2, 1, 3]}}}");
    const double zeros[6] = {0};
    save("a", "src.npy", EQUINV_F32, 4, (int64_t[]){1, 2, 1, 3}, zeros);
    save("a", "dst.npy", EQUINV_F32, 4, (int64_t[]){1, 2, 1, 3}, zeros);
    const result r = run_root();
    HAS_LINE(r, "FAIL a - - EQUINV_ERR_SHAPE: height is 1");
    ENDS(r, 0, 1, 0, 1);
    tear_down();
}
END_TEST

int main(void)
{
    const test_entry tests[] = {
        {without_cjson_it_says_so, 1},
        {a_right_case_passes, 1},
        {wrong_numbers_fail, 1},
        {broken_cases_fail_with_a_reason, BROKEN},
        {what_is_not_built_is_skipped, 1},
        {cases_come_from_the_manifest, 1},
        {zero_cases_fail, 1},
        {fp32_tolerances, 1},
        {infinities_are_exact_and_do_not_set_the_scale, 1},
        {convolutions, 1},
        {counts_cases_of_an_implementation, 1},
        {rows_with_a_mask, 1},
        {projections, 1},
        {layers_of_checkpoints, 1},
        {refused_calls_fail, 1},
    };
    return run_tests("golden_runner", tests, sizeof tests / sizeof *tests);
}
