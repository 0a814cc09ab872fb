/* equinv project: what it writes, what it refuses, what becomes of files and pipes. */
#include <limits.h>
#include <sys/stat.h>
#include <unistd.h>

#include "tests/util/command.h"

typedef struct kind_case {
    equinv_projection_kind kind;
    const char *word;
} kind_case;
static const kind_case kinds[] = {
    {EQUINV_PROJECT_LINEAR, "linear"},
    {EQUINV_PROJECT_MAX, "max"},
    {EQUINV_PROJECT_MEAN, "mean"},
    {EQUINV_PROJECT_MEAN_RELU, "mean-relu"},
    {EQUINV_PROJECT_MEAN_ABS, "mean-abs"},
    {EQUINV_PROJECT_MEAN_SQUARE, "mean-square"},
    {EQUINV_PROJECT_SORTED, "sorted"},
    {EQUINV_PROJECT_ORBIT, "orbit"},
    {EQUINV_PROJECT_MIN, "min"},
    {EQUINV_PROJECT_MOMENT3, "moment3"},
    {EQUINV_PROJECT_POWER, "power"},
    {EQUINV_PROJECT_BISPECTRUM, "bispectrum"},
    {EQUINV_PROJECT_TRIPLE, "triple"},
    {EQUINV_PROJECT_BISPECTRUM_FULL, "bispectrum-full"},
    {EQUINV_PROJECT_FOURIER, "fourier"},
    {EQUINV_PROJECT_SORT, "sort"},
    {EQUINV_PROJECT_PROJECT_SORT, "project-sort"},
};
enum { KINDS = sizeof kinds / sizeof *kinds, FINITE_KINDS = 15 };

START_TEST(project_kinds_of_finite_groups_equal_the_library)
{
    static const equinv_dtype dtypes[] = {EQUINV_F32, EQUINV_F64};
    const equinv_dtype dtype = dtypes[_i % 2];
    const kind_case kind = kinds[_i / 2];
    const char *const folder = folder_new();
    equinv_context *const ctx = context_new();
    rng r = {(uint64_t)_i};
    equinv_tensor z = tensor_random(ctx, &r, dtype, 5, 7, 3, 8, 3, 3);
    OK(equinv_tensor_save(ctx, at(folder, "z.npy"), &z));
    equinv_projection_desc desc = EQUINV_PROJECTION_DESC_INIT;
    desc.kind = kind.kind;
    desc.group = equinv_dihedral(4);
    desc.dtype = dtype;
    desc.fields = 3, desc.height = 3, desc.width = 3;
    desc.k = 5, desc.seed = 18446744073709551615u, desc.scaled = true;
    desc.templates = EQUINV_TEMPLATE_RADEMACHER;
    equinv_tensor codes = projected(ctx, &desc, &z, NULL);
    SUCCEEDS(RUN(folder, "project", "z.npy", "-o", "c.npy", "--group", "D4", "--kind", kind.word,
                 "--k", "5", "--seed", "18446744073709551615", "--templates", "rademacher",
                 "--scaled"));
    assert_file_is(ctx, at(folder, "c.npy"), &codes);
    ck_assert_int_eq(files_in(folder), 2);
    equinv_tensor_destroy(ctx, &codes), equinv_tensor_destroy(ctx, &z);
    equinv_context_destroy(ctx);
    folder_remove(folder);
}
END_TEST

START_TEST(project_takes_lists)
{
    static const double thresholds[] = {-0.5, 1e-3, 2};
    static const int32_t ranks[] = {0, 3};
    const char *const folder = folder_new();
    equinv_context *const ctx = context_new();
    rng r = {91};
    equinv_tensor z = tensor_random(ctx, &r, EQUINV_F32, 3, 6, 2, 4), codes;
    OK(equinv_tensor_save(ctx, at(folder, "z.npy"), &z));
    equinv_projection_desc desc = EQUINV_PROJECTION_DESC_INIT;
    desc.fields = 2, desc.k = 3;
    desc.kind = EQUINV_PROJECT_CDF, desc.thresholds = thresholds, desc.threshold_count = 3;
    codes = projected(ctx, &desc, &z, NULL);
    SUCCEEDS(RUN(folder, "project", "z.npy", "-o", "c.npy", "--group", "C4", "--kind", "cdf", "-k",
                 "3", "--thresholds", "-0.5,1e-3,2"));
    assert_file_is(ctx, at(folder, "c.npy"), &codes);
    equinv_tensor_destroy(ctx, &codes);
    desc.thresholds = NULL, desc.threshold_count = 0;
    desc.kind = EQUINV_PROJECT_SORTED, desc.ranks = ranks, desc.rank_count = 2;
    codes = projected(ctx, &desc, &z, NULL);
    SUCCEEDS(RUN(folder, "project", "z.npy", "-o", "c.npy", "--group", "C4", "--kind", "sorted",
                 "-k", "3", "--ranks", "0,3"));
    assert_file_is(ctx, at(folder, "c.npy"), &codes);
    equinv_tensor_destroy(ctx, &codes), equinv_tensor_destroy(ctx, &z);
    equinv_context_destroy(ctx);
    folder_remove(folder);
}
END_TEST

START_TEST(project_accepts_every_shape_of_latents)
{
    const char *const folder = folder_new();
    equinv_context *const ctx = context_new();
    rng r = {17};
    equinv_tensor maps = tensor_random(ctx, &r, EQUINV_F32, 5, 4, 3, 4, 2, 2);
    equinv_tensor vectors = tensor_random(ctx, &r, EQUINV_F32, 3, 4, 3, 4);
    equinv_tensor pixels = tensor_random(ctx, &r, EQUINV_U8, 3, 4, 3, 4);
    equinv_tensor view, codes;
    equinv_projection_desc desc = EQUINV_PROJECTION_DESC_INIT;
    desc.fields = 3, desc.height = 2, desc.width = 2;
    desc.templates = EQUINV_TEMPLATE_ORTHONORMAL, desc.k = 2;
    codes = projected(ctx, &desc, &maps, NULL);
    OK(equinv_tensor_save(ctx, at(folder, "z5.npy"), &maps));
    OK(equinv_tensor_init(maps.data, EQUINV_F32, 4, (int64_t[]){4, 12, 2, 2}, &view));
    OK(equinv_tensor_save(ctx, at(folder, "z4.npy"), &view));
    const char *const with_space[] = {"z5.npy", "z4.npy"};
    for (int i = 0; i < 2; i++) {
        SUCCEEDS(RUN(folder, "project", with_space[i], "-o", "c.npy", "--group", "C4", "-k", "2",
                     "--templates", "orthonormal", "--threads", "1", "--device", "cpu"));
        assert_file_is(ctx, at(folder, "c.npy"), &codes);
    }
    equinv_tensor_destroy(ctx, &codes);

    desc.height = desc.width = 1;
    codes = projected(ctx, &desc, &vectors, NULL);
    OK(equinv_tensor_save(ctx, at(folder, "z3.npy"), &vectors));
    OK(equinv_tensor_init(vectors.data, EQUINV_F32, 2, (int64_t[]){4, 12}, &view));
    OK(equinv_tensor_save(ctx, at(folder, "z2.npy"), &view));
    const char *const without[] = {"z3.npy", "z2.npy"};
    for (int i = 0; i < 2; i++) {
        SUCCEEDS(RUN(folder, "project", without[i], "-o", "c.npy", "--group", "C4", "-k", "2",
                     "--templates", "orthonormal", "--impl", "ref"));
        equinv_tensor_destroy(ctx, &codes);
        desc.impl = "ref";
        codes = projected(ctx, &desc, &vectors, NULL);
        assert_file_is(ctx, at(folder, "c.npy"), &codes);
    }
    equinv_tensor_destroy(ctx, &codes);

    /* Integers become f32. */
    equinv_tensor real = tensor_as(ctx, &pixels, EQUINV_F32);
    desc.impl = NULL, desc.kind = EQUINV_PROJECT_MAX, desc.templates = EQUINV_TEMPLATE_GAUSSIAN;
    codes = projected(ctx, &desc, &real, NULL);
    OK(equinv_tensor_save(ctx, at(folder, "b.npy"), &pixels));
    SUCCEEDS(RUN(folder, "project", "b.npy", "-o", "c.npy", "--group", "C4", "-k", "2", "--kind",
                 "max"));
    assert_file_is(ctx, at(folder, "c.npy"), &codes);
    equinv_tensor_destroy(ctx, &codes), equinv_tensor_destroy(ctx, &real);
    equinv_tensor_destroy(ctx, &pixels), equinv_tensor_destroy(ctx, &vectors);
    equinv_tensor_destroy(ctx, &maps);
    equinv_context_destroy(ctx);
    folder_remove(folder);
}
END_TEST

START_TEST(project_rows_under_permutations)
{
    const char *const folder = folder_new();
    equinv_context *const ctx = context_new();
    rng r = {3};
    equinv_tensor z = tensor_random(ctx, &r, EQUINV_F64, 3, 6, 5, 2), view;
    equinv_tensor present = tensor_random(ctx, &r, EQUINV_U8, 2, 6, 5);
    for (int64_t i = 0; i < 30; i++)
        tensor_set(&present, i, tensor_get(&present, i) > 4);
    equinv_tensor integers = tensor_as(ctx, &present, EQUINV_U32);
    OK(equinv_tensor_save(ctx, at(folder, "z.npy"), &z));
    OK(equinv_tensor_save(ctx, at(folder, "m.npy"), &present));
    OK(equinv_tensor_save(ctx, at(folder, "m32.npy"), &integers));
    OK(equinv_tensor_init(z.data, EQUINV_F64, 2, (int64_t[]){6, 10}, &view));
    OK(equinv_tensor_save(ctx, at(folder, "flat.npy"), &view));

    equinv_projection_desc desc = EQUINV_PROJECTION_DESC_INIT;
    desc.kind = EQUINV_PROJECT_SORT, desc.group = equinv_symmetric(), desc.dtype = EQUINV_F64;
    desc.rows = 5, desc.channels = 2;
    equinv_tensor codes = projected(ctx, &desc, &z, &present);
    SUCCEEDS(RUN(folder, "project", "z.npy", "-o", "c.npy", "--group", "S", "--kind", "sort",
                 "--mask", "m.npy"));
    assert_file_is(ctx, at(folder, "c.npy"), &codes);
    equinv_tensor_destroy(ctx, &codes);

    /* The kind implies the group. */
    desc.kind = EQUINV_PROJECT_PROJECT_SORT, desc.k = 3, desc.fill = -1.5;
    codes = projected(ctx, &desc, &z, &present);
    SUCCEEDS(RUN(folder, "project", "z.npy", "-o", "c.npy", "--kind", "project-sort", "--k", "3",
                 "--mask", "m32.npy", "--fill", "-1.5"));
    assert_file_is(ctx, at(folder, "c.npy"), &codes);
    equinv_tensor_destroy(ctx, &codes);

    /* One channel may have no axis, and gets none. */
    desc.kind = EQUINV_PROJECT_SORT, desc.rows = 10, desc.channels = 1;
    codes = projected(ctx, &desc, &view, NULL);
    codes.ndim = 2;
    SUCCEEDS(RUN(folder, "project", "flat.npy", "-o", "c.npy", "--kind", "sort"));
    assert_file_is(ctx, at(folder, "c.npy"), &codes);
    codes.ndim = 3;
    equinv_tensor_destroy(ctx, &codes), equinv_tensor_destroy(ctx, &integers);
    equinv_tensor_destroy(ctx, &present), equinv_tensor_destroy(ctx, &z);
    equinv_context_destroy(ctx);
    folder_remove(folder);
}
END_TEST

START_TEST(project_of_an_empty_batch)
{
    const char *const folder = folder_new();
    equinv_context *const ctx = context_new();
    equinv_tensor z = tensor_new(ctx, EQUINV_F32, 3, 0, 3, 4), codes;
    equinv_tensor rows = tensor_new(ctx, EQUINV_F64, 3, 0, 3, 2);
    OK(equinv_tensor_save(ctx, at(folder, "z.npy"), &z));
    OK(equinv_tensor_save(ctx, at(folder, "rows.npy"), &rows));
    for (int i = 0; i < KINDS; i++) {
        const bool finite = i < FINITE_KINDS;
        SUCCEEDS(RUN(folder, "project", finite ? "z.npy" : "rows.npy", "-o", "c.npy", "--group",
                     finite ? "C4" : "S", "--kind", kinds[i].word, "--k", "6"));
        OK(equinv_tensor_load(ctx, at(folder, "c.npy"), &codes));
        ck_assert_int_eq(codes.shape[0], 0);
        const bool templates = finite ? kinds[i].kind < EQUINV_PROJECT_POWER
                                      : kinds[i].kind == EQUINV_PROJECT_PROJECT_SORT;
        ck_assert_int_eq(codes.shape[1], templates ? 6 : 3);
        ck_assert_int_eq(codes.dtype, finite ? EQUINV_F32 : EQUINV_F64);
        equinv_tensor_destroy(ctx, &codes);
    }
    equinv_tensor_destroy(ctx, &rows), equinv_tensor_destroy(ctx, &z);
    equinv_context_destroy(ctx);
    folder_remove(folder);
}
END_TEST

START_TEST(project_in_chunks_through_files_and_pipes)
{
    const char *const folder = folder_new();
    equinv_context *const ctx = context_new();
    equinv_tensor z = save_large(ctx, folder);
    equinv_projection_desc desc = EQUINV_PROJECTION_DESC_INIT;
    char command[3 * PATH_MAX];
    desc.fields = 260, desc.k = 3;
    equinv_tensor codes = projected(ctx, &desc, &z, NULL);
    SUCCEEDS(RUN(folder, "project", "z.npy", "-o", "c.npy", "--group", "C4", "--k", "3"));
    assert_file_is(ctx, at(folder, "c.npy"), &codes);
    snprintf(command, sizeof command,
             "cd '%s' && cat z.npy | '%s' project /dev/stdin -o /dev/stdout --group C4 --k 3 "
             "2>piped.err | cat >piped.npy && ! test -s piped.err",
             folder, program_path("equinv"));
    ck_assert_int_eq(system(command), 0);
    assert_file_is(ctx, at(folder, "piped.npy"), &codes);
    /* Standard output that is a file, and standard input that is one. */
    snprintf(command, sizeof command,
             "cd '%s' && '%s' project /dev/stdin -o /dev/stdout --group C4 --k 3 <z.npy "
             ">direct.npy",
             folder, program_path("equinv"));
    ck_assert_int_eq(system(command), 0);
    assert_file_is(ctx, at(folder, "direct.npy"), &codes);
    ck_assert_int_eq(files_in(folder), 5);
    equinv_tensor_destroy(ctx, &codes), equinv_tensor_destroy(ctx, &z);
    equinv_context_destroy(ctx);
    folder_remove(folder);
}
END_TEST

static const struct {
    const char *const *arguments;
    const char *words;
} misuses[] = {
    {ARGUMENTS("-o", "c.npy", "--group", "C4"), "no file of latents was given"},
    {ARGUMENTS("z.npy", "--group", "C4"), "-o is missing"},
    {ARGUMENTS("z.npy", "-o", "c.npy"), "--group is missing"},
    {ARGUMENTS("z.npy", "y.npy", "-o", "c.npy", "--group", "C4"), "unexpected argument \"y.npy\""},
    {ARGUMENTS("z.npy", "-o", "c.npy", "--group", "Q4"), "--group: "},
    {ARGUMENTS("z.npy", "-o", "c.npy", "--group", "c4"), "\"c4\""},
    {ARGUMENTS("z.npy", "-o", "c.npy", "--group", "C4", "--kind", "Linear"),
     "--kind is \"Linear\", expected one of: linear, max, mean, mean-relu, mean-abs, "
     "mean-square, sorted, orbit, min, moment3, cdf, sort, project-sort, power, bispectrum, "
     "bispectrum-full, triple, fourier"},
    {ARGUMENTS("z.npy", "-o", "c.npy", "--group", "C4", "--kind", "cdf"),
     "--thresholds is missing, expected numbers for --kind cdf"},
    {ARGUMENTS("z.npy", "-o", "c.npy", "--group", "C4", "--kind", "cdf", "--thresholds", "1,x"),
     "--thresholds is \"x\", expected a number"},
    {ARGUMENTS("z.npy", "-o", "c.npy", "--group", "C4", "--kind", "sorted", "--ranks", "0,1.5"),
     "--ranks has 1.5, expected whole numbers from 0"},
    {ARGUMENTS("z.npy", "-o", "c.npy", "--group", "C4", "--k", "0"),
     "--k is \"0\", expected a whole number from 1 to 1099511627776"},
    {ARGUMENTS("z.npy", "-o", "c.npy", "--group", "C4", "--k", "64x"), "--k is \"64x\""},
    {ARGUMENTS("z.npy", "-o", "c.npy", "--group", "C4", "--k", " 64"), "--k is \" 64\""},
    {ARGUMENTS("z.npy", "-o", "c.npy", "--group", "C4", "--k", ""), "--k is \"\""},
    {ARGUMENTS("z.npy", "-o", "c.npy", "--group", "C4", "--k", "0x10"), "--k is \"0x10\""},
    {ARGUMENTS("z.npy", "-o", "c.npy", "--group", "C4", "--k", "99999999999999999999"),
     "--k is \"99999999999999999999\""},
    {ARGUMENTS("z.npy", "-o", "c.npy", "--group", "C4", "--seed", "-1"),
     "--seed is \"-1\", expected a whole number from 0 to 18446744073709551615"},
    {ARGUMENTS("z.npy", "-o", "c.npy", "--group", "C4", "--seed", ""), "--seed is \"\""},
    {ARGUMENTS("z.npy", "-o", "c.npy", "--group", "S", "--fill", ""), "--fill is \"\""},
    {ARGUMENTS("z.npy", "-o", "c.npy", "--group", "C4", "--seed", "18446744073709551616"),
     "--seed is \"18446744073709551616\""},
    {ARGUMENTS("z.npy", "-o", "c.npy", "--group", "C4", "--templates", "user"),
     "expected one of: gaussian, rademacher, orthonormal, sparse, hadamard"},
    {ARGUMENTS("z.npy", "-o", "c.npy", "--group", "S", "--fill", "1,5"),
     "--fill is \"1,5\", expected a number"},
    {ARGUMENTS("z.npy", "-o", "c.npy", "--group", "S", "--fill", "1e999"), "--fill is"},
    {ARGUMENTS("z.npy", "-o", "c.npy", "--group", "C4", "--device", "gpu"),
     "--device is \"gpu\", expected one of: auto, cpu, cuda"},
    {ARGUMENTS("z.npy", "-o", "c.npy", "--group", "C4", "--threads", "1025"),
     "--threads is \"1025\", expected a whole number from 0 to 1024"},
    {ARGUMENTS("z.npy", "-o", "c.npy", "--group", "C4", "--mask", "m.npy"),
     "--mask is for --group S"},
    {ARGUMENTS("z.npy", "-o"), "option requires an argument"},
};

START_TEST(project_wrong_usage)
{
    const char *const folder = folder_new();
    write_text(folder, "z.npy", "not looked at");
    for (size_t i = 0; i < sizeof misuses / sizeof *misuses; i++) {
        const outcome *const o = run_list(folder, "project", misuses[i].arguments);
        FAILS_WITH(o, USAGE, misuses[i].words);
        SAYS(o->err, "equinv: project: ");
        SAYS(o->err, "\nTry 'equinv project --help'.\n");
        ck_assert_int_eq(files_in(folder), 1);
    }
    folder_remove(folder);
}
END_TEST

/* Saves latents [4, 3, 4] f32 as z.npy. */
static void save_small(equinv_context *ctx, const char *folder)
{
    rng r = {5};
    equinv_tensor z = tensor_random(ctx, &r, EQUINV_F32, 3, 4, 3, 4);
    OK(equinv_tensor_save(ctx, at(folder, "z.npy"), &z));
    equinv_tensor_destroy(ctx, &z);
}

static const struct {
    const char *const *arguments;
    const char *words;
} refusals[] = {
    {ARGUMENTS("none.npy", "-o", "c.npy", "--group", "C4"), "none.npy"},
    {ARGUMENTS(".", "-o", "c.npy", "--group", "C4"), "directory"},
    {ARGUMENTS("text.npy", "-o", "c.npy", "--group", "C4"), "text.npy"},
    {ARGUMENTS("short.npy", "-o", "c.npy", "--group", "C4"), "short.npy"},
    {ARGUMENTS("long.npy", "-o", "c.npy", "--group", "C4"), "long.npy"},
    {ARGUMENTS("z.npy", "-o", "c.npy", "--group", "D4"),
     "z.npy has shape [4, 3, 4], expected [B, fields, 8]"},
    {ARGUMENTS("flat.npy", "-o", "c.npy", "--group", "C8"), "flat.npy has shape [4, 12], expected"},
    {ARGUMENTS("one.npy", "-o", "c.npy", "--group", "C4"),
     "one.npy has shape [4], expected [B, fields, 4], [B, fields, 4, H, W]"},
    {ARGUMENTS("one.npy", "-o", "c.npy", "--group", "S", "--kind", "sort"),
     "one.npy has shape [4], expected [B, rows, channels] or [B, rows] (group S)"},
    {ARGUMENTS("wide.npy", "-o", "c.npy", "--group", "C4"), "height"},
    {ARGUMENTS("z.npy", "-o", "c.npy", "--group", "C4", "--kind", "sort"), "group"},
    {ARGUMENTS("z.npy", "-o", "c.npy", "--group", "S", "--kind", "linear"), "group"},
    {ARGUMENTS("z.npy", "-o", "c.npy", "--group", "C4", "--impl", "magic"), "magic"},
    {ARGUMENTS("z.npy", "-o", "c.npy", "--group", "C4", "--device", "cuda"), "cuda"},
    {ARGUMENTS("z.npy", "-o", "c.npy", "--group", "C4", "--templates", "orthonormal", "--k", "4"),
     "k is 4"},
    {ARGUMENTS("z.npy", "-o", "z.npy", "--group", "C4"), "z.npy is read and would be replaced"},
    {ARGUMENTS("link.npy", "-o", "z.npy", "--group", "C4"), "is read and would be replaced"},
    {ARGUMENTS("z.npy", "-o", "link.npy", "--group", "C4"), "is read and would be replaced"},
    {ARGUMENTS("z.npy", "-o", "m.npy", "--mask", "m.npy", "--kind", "sort"),
     "m.npy is read and would be replaced"},
    {ARGUMENTS("z.npy", "-o", "c.npy", "--mask", "z.npy", "--kind", "sort"),
     "z.npy has element type f32, expected integers or booleans"},
    {ARGUMENTS("z.npy", "-o", "c.npy", "--mask", "m.npy", "--kind", "sort"),
     "m.npy has shape [4, 5], expected [4, 3] like the rows of z.npy"},
    {ARGUMENTS("z.npy", "-o", "no/folder/c.npy", "--group", "C4"), "no/folder"},
    {ARGUMENTS("z.npy", "-o", ".", "--group", "C4"), "."},
    {ARGUMENTS("z.npy", "-o", "/proc/equinv.npy", "--group", "C4"), "/proc"},
    {ARGUMENTS("z.npy", "-o", "/dev/full", "--group", "C4"), "No space left"},
};

START_TEST(project_refusals_leave_everything_as_it_was)
{
    enum { FILES = 9 };
    const char *const folder = folder_new();
    equinv_context *const ctx = context_new();
    equinv_tensor flat = tensor_new(ctx, EQUINV_F32, 2, 4, 12),
                  one = tensor_new(ctx, EQUINV_F32, 1, 4);
    equinv_tensor mask = tensor_new(ctx, EQUINV_I32, 2, 4, 5);
    equinv_tensor wide = tensor_new(ctx, EQUINV_F32, 5, 2, 1, 4, 2, 3);
    char text[64];
    save_small(ctx, folder);
    OK(equinv_tensor_save(ctx, at(folder, "flat.npy"), &flat));
    OK(equinv_tensor_save(ctx, at(folder, "short.npy"), &flat));
    OK(equinv_tensor_save(ctx, at(folder, "long.npy"), &flat));
    OK(equinv_tensor_save(ctx, at(folder, "one.npy"), &one));
    OK(equinv_tensor_save(ctx, at(folder, "m.npy"), &mask));
    OK(equinv_tensor_save(ctx, at(folder, "wide.npy"), &wide));
    write_text(folder, "text.npy", "This is no array.");
    ck_assert(truncate(at(folder, "short.npy"), 200) == 0);
    ck_assert(truncate(at(folder, "long.npy"), 1000) == 0);
    ck_assert(symlink("z.npy", at(folder, "link.npy")) == 0);
    for (int existing = 0; existing < 2; existing++) {
        if (existing)
            write_text(folder, "c.npy", "what was there");
        for (size_t i = 0; i < sizeof refusals / sizeof *refusals; i++) {
            const outcome *const o = run_list(folder, "project", refusals[i].arguments);
            FAILS_WITH(o, REFUSED, refusals[i].words);
            ck_assert_msg(strncmp(o->err, "equinv: project: ", 17) == 0, "%s", o->err);
            ck_assert_msg(strcmp(strchr(o->err, '\n'), "\n") == 0, "not one line: %s", o->err);
            ck_assert_int_eq(files_in(folder), FILES + existing);
            if (existing) {
                read_text(folder, "c.npy", text, sizeof text);
                ck_assert_str_eq(text, "what was there");
            }
        }
    }
    equinv_tensor_destroy(ctx, &wide), equinv_tensor_destroy(ctx, &mask);
    equinv_tensor_destroy(ctx, &one), equinv_tensor_destroy(ctx, &flat);
    equinv_context_destroy(ctx);
    folder_remove(folder);
}
END_TEST

START_TEST(project_asks_the_environment_for_the_device)
{
    const char *const folder = folder_new();
    equinv_context *const ctx = context_new();
    const setup cuda = {.name = "EQUINV_BACKEND", .set = "cuda"};
    const setup comma = {.name = "LC_ALL", .set = "de_DE.UTF-8"};
    save_small(ctx, folder);
    FAILS_WITH(RUN_WITH(folder, cuda, "project", "z.npy", "-o", "c.npy", "--group", "C4"), REFUSED,
               "EQUINV_BACKEND asks for cuda");
    SUCCEEDS(RUN_WITH(folder, cuda, "project", "z.npy", "-o", "c.npy", "--group", "C4", "--device",
                      "cpu"));
    /* No locale changes how numbers are read. */
    SUCCEEDS(RUN_WITH(folder, comma, "project", "z.npy", "-o", "c.npy", "--group", "S", "--kind",
                      "sort", "--fill", "1.5"));
    equinv_context_destroy(ctx);
    folder_remove(folder);
}
END_TEST

START_TEST(project_replaces_a_file_only_when_done)
{
    const char *const folder = folder_new();
    equinv_context *const ctx = context_new();
    const setup full = {.largest_file = 20000};
    char text[64];
    equinv_tensor z = save_large(ctx, folder), codes;
    equinv_tensor_destroy(ctx, &z);
    /* The disk is full after some chunks. */
    FAILS_WITH(
        RUN_WITH(folder, full, "project", "z.npy", "-o", "c.npy", "--group", "C4", "--k", "3"),
        REFUSED, "File too large");
    ck_assert_int_eq(files_in(folder), 1);
    write_text(folder, "c.npy", "what was there");
    FAILS_WITH(
        RUN_WITH(folder, full, "project", "z.npy", "-o", "c.npy", "--group", "C4", "--k", "3"),
        REFUSED, "c.npy");
    read_text(folder, "c.npy", text, sizeof text);
    ck_assert_str_eq(text, "what was there");
    ck_assert_int_eq(files_in(folder), 2);
    SUCCEEDS(RUN(folder, "project", "z.npy", "-o", "c.npy", "--group", "C4", "--k", "3"));
    OK(equinv_tensor_load(ctx, at(folder, "c.npy"), &codes));
    ck_assert_int_eq(codes.shape[0], 4801);
    ck_assert_int_eq(files_in(folder), 2);
    equinv_tensor_destroy(ctx, &codes);
    equinv_context_destroy(ctx);
    folder_remove(folder);
}
END_TEST

START_TEST(project_without_permission)
{
    const char *const folder = folder_new();
    equinv_context *const ctx = context_new();
    const setup nobody = {.nobody = true};
    save_small(ctx, folder);
    ck_assert(chmod(folder, 0755) == 0 && mkdir(at(folder, "closed"), 0500) == 0);
    const outcome *o =
        RUN_WITH(folder, nobody, "project", "z.npy", "-o", "closed/c.npy", "--group", "C4");
    if (o->code == CANNOT_START) {
        SKIP("root may write everywhere, and others may not start the program");
    } else {
        FAILS_WITH(o, REFUSED, "Permission denied");
        ck_assert(chmod(at(folder, "z.npy"), 0) == 0);
        FAILS_WITH(RUN_WITH(folder, nobody, "project", "z.npy", "-o", "c.npy", "--group", "C4"),
                   REFUSED, "z.npy could not be opened: Permission denied");
    }
    ck_assert_int_eq(files_in(folder), 2);
    ck_assert_int_eq(files_in(at(folder, "closed")), 0);
    equinv_context_destroy(ctx);
    folder_remove(folder);
}
END_TEST

START_TEST(project_into_a_pipe_that_nobody_reads)
{
    const char *const folder = folder_new();
    equinv_context *const ctx = context_new();
    const setup closed = {.closed_pipe = true};
    save_small(ctx, folder);
    FAILS_WITH(RUN_WITH(folder, closed, "project", "z.npy", "-o", "/dev/stdout", "--group", "C4"),
               REFUSED, "Broken pipe");
    equinv_context_destroy(ctx);
    folder_remove(folder);
}
END_TEST

/* Integers [rows, columns] as a file. */
static void save_integers(equinv_context *ctx, const char *path, int64_t rows, int64_t columns,
                          const int32_t *numbers)
{
    equinv_tensor t;
    OK(equinv_tensor_init((void *)numbers, EQUINV_I32, 2, (int64_t[]){rows, columns}, &t));
    OK(equinv_tensor_save(ctx, path, &t));
}

START_TEST(groups_come_from_files_too)
{
    static const int32_t products[] = {0, 1, 2, 3, 1, 0, 3, 2, 2, 3, 0, 1, 3, 2, 1, 0};
    static const int32_t transpositions[] = {1, 0, 2, 3, 0, 1, 3, 2};
    static const int32_t open[] = {0, 1, 1, 4};
    const char *const folder = folder_new();
    equinv_context *const ctx = context_new();
    rng r = {57};
    equinv_tensor z = tensor_random(ctx, &r, EQUINV_F32, 3, 30, 5, 4), codes;
    OK(equinv_tensor_save(ctx, at(folder, "z.npy"), &z));
    save_integers(ctx, at(folder, "products.npy"), 4, 4, products);
    save_integers(ctx, at(folder, "long.npy"), 2, 8, products);
    save_integers(ctx, at(folder, "open.npy"), 2, 2, open);
    save_integers(ctx, at(folder, "swaps.npy"), 2, 4, transpositions);
#define PROJECT(output, group)                                                                     \
    RUN(folder, "project", "z.npy", "-o", output, "--group", group, "--kind", "sorted", "-k", "9")
    SUCCEEDS(PROJECT("c.npy", "C2xC2"));
    OK(equinv_tensor_load(ctx, at(folder, "c.npy"), &codes));
    SUCCEEDS(PROJECT("d.npy", "table:products.npy"));
    assert_file_is(ctx, at(folder, "d.npy"), &codes);
    SUCCEEDS(PROJECT("d.npy", "generators:swaps.npy"));
    assert_file_is(ctx, at(folder, "d.npy"), &codes);
    FAILS_WITH(PROJECT("e.npy", "table:open.npy"), USAGE,
               "table is not closed: the product 1 1 is 4");
    FAILS_WITH(PROJECT("e.npy", "table:long.npy"), USAGE,
               "long.npy holds i32 [2, 8], expected integers [order, order]");
    FAILS_WITH(PROJECT("e.npy", "generators:z.npy"), USAGE,
               "z.npy holds f32 [30, 5, 4], expected integers [count, degree]");
    FAILS_WITH(PROJECT("e.npy", "table:nothing.npy"), USAGE, "nothing.npy could not be opened");
#undef PROJECT
    ck_assert_int_eq(files_in(folder), 7);
    equinv_tensor_destroy(ctx, &codes);
    equinv_tensor_destroy(ctx, &z);
    equinv_context_destroy(ctx);
    folder_remove(folder);
}
END_TEST

START_TEST(project_saves_and_uses_projections)
{
    const char *const folder = folder_new();
    equinv_context *const ctx = context_new();
    rng r = {56};
    equinv_tensor z = tensor_random(ctx, &r, EQUINV_F32, 3, 30, 5, 8);
    OK(equinv_tensor_save(ctx, at(folder, "z.npy"), &z));
    SUCCEEDS(RUN(folder, "project", "z.npy", "-o", "c.npy", "--group", "D4", "--kind", "sorted",
                 "-k", "9", "--templates", "sparse", "--density", "0.2", "--ranks", "1,3",
                 "--scaled", "--save-projection", "p.safetensors"));
    const outcome *const o =
        RUN(folder, "project", "z.npy", "-o", "d.npy", "--projection", "p.safetensors");
    if (!has_cjson()) {
        FAILS_WITH(o, REFUSED, "cJSON");
    } else {
        equinv_tensor codes;
        SUCCEEDS(o);
        OK(equinv_tensor_load(ctx, at(folder, "c.npy"), &codes));
        ck_assert(codes.ndim == 3 && codes.shape[2] == 2);
        assert_file_is(ctx, at(folder, "d.npy"), &codes);
        equinv_tensor_destroy(ctx, &codes);
        FAILS_WITH(RUN(folder, "project", "c.npy", "-o", "d.npy", "--projection", "p.safetensors"),
                   REFUSED, "c.npy has shape");
        FAILS_WITH(RUN(folder, "project", "z.npy", "-o", "d.npy", "--projection", "p.safetensors",
                       "--kind", "max"),
                   USAGE, "--projection has group and kind");
        FAILS_WITH(RUN(folder, "project", "z.npy", "-o", "d.npy", "--projection", "z.npy"), REFUSED,
                   "z.npy");
    }
    equinv_tensor_destroy(ctx, &z);
    equinv_context_destroy(ctx);
    folder_remove(folder);
}
END_TEST

int main(void)
{
    const test_entry tests[] = {
        {project_kinds_of_finite_groups_equal_the_library, 2 * FINITE_KINDS},
        {project_accepts_every_shape_of_latents, 1},
        {project_takes_lists, 1},
        {groups_come_from_files_too, 1},
        {project_saves_and_uses_projections, 1},
        {project_rows_under_permutations, 1},
        {project_of_an_empty_batch, 1},
        {project_in_chunks_through_files_and_pipes, 1},
        {project_wrong_usage, 1},
        {project_refusals_leave_everything_as_it_was, 1},
        {project_asks_the_environment_for_the_device, 1},
        {project_replaces_a_file_only_when_done, 1},
        {project_without_permission, 1},
        {project_into_a_pipe_that_nobody_reads, 1},
    };
    return run_tests("cli_project", tests, sizeof tests / sizeof *tests);
}
