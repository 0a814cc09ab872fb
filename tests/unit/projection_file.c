/* Projections in files: read back bit for bit, and hostile files refused. */
#include <math.h>
#include <sys/stat.h>
#include <unistd.h>

#include "internal/safetensors.h"
#include "tests/ops/projection_cases.h"

static const char *new_path(void)
{
    static char path[64];
    strcpy(path, "/tmp/equinv-projection-XXXXXX");
    const int fd = mkstemp(path);
    ck_assert(fd >= 0);
    close(fd);
    return path;
}

static bool has_cjson(void)
{
    return strstr(equinv_build_info(), "cjson: yes") != NULL;
}

/* Saves, loads, and compares descriptions, templates and codes. */
static void round_trip(equinv_context *ctx, equinv_projection_desc d, const equinv_tensor *z)
{
    const char *const path = new_path();
    equinv_projection *p = NULL, *q = NULL;
    OK(equinv_projection_create(ctx, &d, &p));
    OK(equinv_projection_save(p, path));
    if (!has_cjson()) {
        FAILS(EQUINV_ERR_UNSUPPORTED, "cJSON", equinv_projection_load(ctx, path, d.impl, &q));
    } else {
        equinv_projection_desc a, b;
        OK(equinv_projection_load(ctx, path, d.impl, &q));
        OK(equinv_projection_describe(p, &a));
        OK(equinv_projection_describe(q, &b));
        ck_assert(a.kind == b.kind && a.group.kind == b.group.kind && a.group.n == b.group.n);
        ck_assert(a.dtype == b.dtype && a.seed == b.seed);
        ck_assert(a.templates == b.templates || (int)a.templates == 77);
        ck_assert(a.fields == b.fields && a.height == b.height && a.width == b.width);
        ck_assert(a.rows == b.rows && a.channels == b.channels && a.k == b.k);
        ck_assert(a.scaled == b.scaled && a.density == b.density && a.fill == b.fill);
        ck_assert(a.threshold_count == b.threshold_count && a.rank_count == b.rank_count);
        ck_assert(!a.user_templates && !b.user_templates && !a.impl && !b.impl);
        ck_assert_str_eq(equinv_projection_impl_name(p), equinv_projection_impl_name(q));
        if (d.kind != EQUINV_PROJECT_SORT && d.kind < EQUINV_PROJECT_POWER) {
            equinv_tensor w[2];
            OK(equinv_projection_templates(p, &w[0]));
            OK(equinv_projection_templates(q, &w[1]));
            ASSERT_SAME(&w[0], &w[1]);
        }
        equinv_tensor codes = project(ctx, p, z, NULL), again = project(ctx, q, z, NULL);
        ASSERT_SAME(&codes, &again);
        equinv_tensor_destroy(ctx, &codes);
        equinv_tensor_destroy(ctx, &again);
    }
    equinv_projection_destroy(p);
    equinv_projection_destroy(q);
    unlink(path);
}

START_TEST(every_kind_comes_back)
{
    static const int32_t ranks[] = {0};
    static const equinv_template_kind templates[] = {
        EQUINV_TEMPLATE_GAUSSIAN, EQUINV_TEMPLATE_RADEMACHER, EQUINV_TEMPLATE_ORTHONORMAL,
        EQUINV_TEMPLATE_SPARSE, EQUINV_TEMPLATE_HADAMARD};
    rng r = {80};
    equinv_context *ctx = context_new();
    for (int kind = 0; kind < ORBIT_KINDS; kind++)
        for (int t = 0; t < 5; t++) {
            equinv_projection_desc d =
                desc_of(orbit_kinds[kind], group_cases[(3 * kind + t) % GROUP_CASES],
                        t % 2 ? EQUINV_F32 : EQUINV_F64, 2, 2, UINT64_MAX - (uint64_t)t);
            d.templates = templates[t];
            d.scaled = t == 1;
            d.density = 0.3;
            if (d.kind == EQUINV_PROJECT_SORTED && t == 2)
                d.ranks = ranks, d.rank_count = 1;
            equinv_tensor z = latents_of(ctx, &r, &d, 3);
            round_trip(ctx, d, &z);
            equinv_tensor_destroy(ctx, &z);
        }
    for (int kind = EQUINV_PROJECT_SORT; kind <= EQUINV_PROJECT_PROJECT_SORT; kind++) {
        equinv_projection_desc d = EQUINV_PROJECTION_DESC_INIT;
        d.kind = (equinv_projection_kind)kind;
        d.group = equinv_symmetric(), d.rows = 4, d.channels = 3, d.k = 2, d.fill = -7.25;
        equinv_tensor z = tensor_random(ctx, &r, EQUINV_F32, 3, 2, 4, 3);
        round_trip(ctx, d, &z);
        equinv_tensor_destroy(ctx, &z);
    }
    for (int kind = EQUINV_PROJECT_POWER; kind <= EQUINV_PROJECT_FOURIER; kind++) {
        equinv_projection_desc d = desc_of((equinv_projection_kind)kind, group_cases[8],
                                           kind % 2 ? EQUINV_F32 : EQUINV_F64, 2, 2, 1);
        equinv_tensor z = latents_of(ctx, &r, &d, 3);
        d.templates = (equinv_template_kind)77; /* not read */
        round_trip(ctx, d, &z);
        equinv_tensor_destroy(ctx, &z);
    }
    equinv_projection_desc d = desc_of(EQUINV_PROJECT_MAX, group_cases[3], EQUINV_F32, 2, 3, 1);
    OK(equinv_group_parse("C2xD2", &d.group));
    equinv_tensor w = latents_of(ctx, &r, &d, 3), z = latents_of(ctx, &r, &d, 2);
    d.templates = EQUINV_TEMPLATE_USER;
    d.user_templates = &w;
    round_trip(ctx, d, &z);
    equinv_tensor_destroy(ctx, &w);
    equinv_tensor_destroy(ctx, &z);
    equinv_context_destroy(ctx);
}
END_TEST

/* What a good file of a MAX projection consists of; each case changes something. */
enum { PAIRS = 12 };

START_TEST(wrong_files_are_refused)
{
    static const struct {
        const char *key, *value, *words; /* value NULL: the key is left out */
    } cases[] = {
        {"equinv_projection", NULL, "lacks the key \"equinv_projection\""},
        {"equinv_projection", "2", "\"equinv_projection\" is \"2\""},
        {"kind", "Max", "\"kind\" is \"Max\""},
        {"kind", NULL, "lacks the key \"kind\""},
        {"kind", "sort", "group"},
        {"group", "C5", "user_templates has shape"},
        {"group", "table", "\"table\" is missing"},
        {"group", "Q8", "\"group\" is \"Q8\""},
        {"templates", "none", "\"templates\" is \"none\""},
        {"seed", "-1", "\"seed\" is \"-1\""},
        {"seed", "18446744073709551616", "\"seed\" is"},
        {"seed", "", "\"seed\" is"},
        {"fields", "1e3", "\"fields\" is \"1e3\""},
        {"fields", "0", "fields is 0"},
        {"k", "4", "user_templates has 3 templates, expected k = 4"},
        {"k", "9223372036854775808", "\"k\" is"},
        {"dtype", "f16", "\"dtype\" is \"f16\""},
        {"dtype", "f64", "user_templates has dtype f32"},
        {"height", "3", "90 degrees"},
        {"missing", "templates", "tensor \"templates\" is missing"},
        {"missing", "numbers", "tensor \"numbers\" is not there"},
        {"extra", "foo", "3 tensors, expected the 2"},
        {"extra", "ranks", "ranks is given"},
        {"extra", "table", "\"table\" is there"},
    };
    equinv_context *ctx = context_new();
    const char *const path = new_path();
    equinv_tensor w = tensor_new(ctx, EQUINV_F32, 5, 3, 2, 4, 1, 1);
    equinv_tensor numbers = tensor_new(ctx, EQUINV_F64, 1, 3);
    equinv_tensor list = tensor_new(ctx, EQUINV_I32, 1, 1),
                  square = tensor_new(ctx, EQUINV_I32, 2, 4, 4);
    for (size_t i = 0; has_cjson() && i < sizeof cases / sizeof *cases; i++) {
        eqi_safetensors_pair pairs[PAIRS] = {{"equinv_projection", "1"},
                                             {"kind", "max"},
                                             {"group", "C4"},
                                             {"templates", "user"},
                                             {"seed", "0"},
                                             {"fields", "2"},
                                             {"height", "1"},
                                             {"width", "1"},
                                             {"rows", "0"},
                                             {"k", "3"},
                                             {"channels", "0"},
                                             {"dtype", "f32"}};
        eqi_safetensors_item items[3] = {{"numbers", &numbers}, {"templates", &w}};
        int64_t count = PAIRS, tensors = 2;
        for (int64_t n = 0; n < count; n++)
            if (strcmp(pairs[n].key, cases[i].key) == 0) {
                if (cases[i].value)
                    pairs[n].value = cases[i].value;
                else
                    pairs[n] = pairs[--count];
            }
        if (strcmp(cases[i].key, "missing") == 0) {
            if (strcmp(cases[i].value, "numbers") == 0)
                items[0] = items[1];
            tensors = 1;
        }
        if (strcmp(cases[i].key, "extra") == 0)
            items[tensors++] = (eqi_safetensors_item){
                cases[i].value, strcmp(cases[i].value, "table") == 0 ? &square : &list};
        equinv_projection *p = NULL;
        OK(eqi_safetensors_save(ctx, path, pairs, count, items, tensors));
        const equinv_status status = equinv_projection_load(ctx, path, NULL, &p);
        ck_assert_msg(status == EQUINV_ERR_FORMAT && strstr(equinv_last_error(), cases[i].words),
                      "case %zu: %s, %s", i, equinv_status_name(status), equinv_last_error());
        ck_assert(p == NULL);
    }
    equinv_projection *p = NULL;
    FAILS(EQUINV_ERR_ARG, "ctx", equinv_projection_load(NULL, path, NULL, &p));
    FAILS(EQUINV_ERR_ARG, "path", equinv_projection_load(ctx, "", NULL, &p));
    FAILS(EQUINV_ERR_ARG, "projection", equinv_projection_load(ctx, path, NULL, NULL));
    FAILS(EQUINV_ERR_ARG, "projection", equinv_projection_save(NULL, path));
    FAILS(EQUINV_ERR_ARG, "projection", equinv_projection_describe(NULL, NULL));
    equinv_tensor *const owned[] = {&w, &numbers, &list, &square};
    for (size_t i = 0; i < sizeof owned / sizeof *owned; i++)
        equinv_tensor_destroy(ctx, owned[i]);
    unlink(path);
    equinv_context_destroy(ctx);
}
END_TEST

START_TEST(out_of_memory_leaves_nothing_behind)
{
    fault_allocator f = {.until = -1};
    const char *const path = new_path();
    equinv_context *const ctx = context_of_faults(&f);
    equinv_projection_desc d = desc_of(EQUINV_PROJECT_CDF, group_cases[12], EQUINV_F32, 2, 3, 1);
    equinv_projection *p = NULL;
    OK(equinv_projection_create(ctx, &d, &p));
    OK(equinv_projection_save(p, path));
    equinv_projection_destroy(p);
    const int64_t live = f.live;
    equinv_status status = has_cjson() ? EQUINV_ERR_NOMEM : EQUINV_OK;
    for (int64_t allowed = 0; status == EQUINV_ERR_NOMEM; allowed++) {
        p = NULL;
        f.count = 0, f.until = allowed;
        status = equinv_projection_load(ctx, path, NULL, &p);
        f.until = -1;
        ck_assert(status == EQUINV_OK || (status == EQUINV_ERR_NOMEM && !p && f.live == live));
        equinv_projection_destroy(p);
    }
    ck_assert_int_eq(status, EQUINV_OK);
    equinv_context_destroy(ctx);
    ck_assert(f.live == 0);
    unlink(path);
}
END_TEST

int main(void)
{
    const test_entry tests[] = {
        {every_kind_comes_back, 1},
        {wrong_files_are_refused, 1},
        {out_of_memory_leaves_nothing_behind, 1},
    };
    return run_tests("projection_file", tests, sizeof tests / sizeof *tests);
}
