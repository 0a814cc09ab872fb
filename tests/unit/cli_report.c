/* equinv report and equinv neighbours: their figures are the library's. */
#include <unistd.h>

#include "tests/util/command.h"

/* ---- report --------------------------------------------------------------------------------- */

static void has_code(const char *text, const char *section, const equinv_report_code *code)
{
    HAS_NUMBER(text, section, "invariance_error", code->invariance_error);
    HAS_NUMBER(text, section, "within", code->within);
    HAS_NUMBER(text, section, "between", code->between);
    HAS_NUMBER(text, section, "distortion_min", code->distortion_min);
    HAS_NUMBER(text, section, "distortion_max", code->distortion_max);
    HAS_NUMBER(text, section, "knn_accuracy", code->knn_accuracy);
    HAS_NUMBER(text, section, "own_nearest", code->own_nearest);
}

/* Latents [40, 3, 4] and labels of three classes, as files. */
static void save_labelled(equinv_context *ctx, const char *folder, equinv_tensor *z,
                          equinv_tensor *labels)
{
    rng r = {31};
    *z = tensor_random(ctx, &r, EQUINV_F32, 3, 40, 3, 4);
    *labels = tensor_new(ctx, EQUINV_I32, 1, 40);
    for (int i = 0; i < 40; i++)
        tensor_set(labels, i, i % 3);
    OK(equinv_tensor_save(ctx, at(folder, "z.npy"), z));
    OK(equinv_tensor_save(ctx, at(folder, "labels.npy"), labels));
}

START_TEST(report_as_json_has_the_librarys_figures)
{
    const bool labelled = _i == 1;
    const char *const folder = folder_new();
    equinv_context *const ctx = context_new();
    equinv_tensor z, labels;
    equinv_projection_desc desc = EQUINV_PROJECTION_DESC_INIT;
    equinv_report_desc report_desc = EQUINV_REPORT_DESC_INIT;
    equinv_projection *projection;
    equinv_report report;
    save_labelled(ctx, folder, &z, &labels);
    desc.fields = 3, desc.kind = EQUINV_PROJECT_MAX, desc.k = 7, desc.seed = 9;
    report_desc.seed = 9, report_desc.sample = 30, report_desc.neighbours = 3;
    equinv_tensor error = tensor_new(ctx, EQUINV_F64, 2, 2, 4);
    OK(equinv_projection_create(ctx, &desc, &projection));
    OK(equinv_report_compute(projection, &z, labelled ? &labels : NULL, &report_desc, &report,
                             &error));
    const outcome *const o =
        labelled
            ? RUN(folder, "report", "z.npy", "--group", "C4", "--kind", "max", "--k", "7", "--seed",
                  "9", "--sample", "30", "--neighbours", "3", "--json", "--labels", "labels.npy")
            : RUN(folder, "report", "z.npy", "--group", "C4", "--kind", "max", "--k", "7", "--seed",
                  "9", "--sample", "30", "--neighbours", "3", "--json");
    SUCCEEDS(o);
    HAS_NUMBER(o->out, NULL, "latents", 40);
    HAS_NUMBER(o->out, NULL, "sampled", 30);
    HAS_NUMBER(o->out, NULL, "dimension", 12);
    HAS_NUMBER(o->out, NULL, "code_dimension", 7);
    HAS_NUMBER(o->out, NULL, "order", 4);
    HAS_NUMBER(o->out, NULL, "rank", report.rank);
    HAS_NUMBER(o->out, NULL, "kept_variance", report.kept_variance);
    HAS_NUMBER(o->out, NULL, "label_chance", report.label_chance);
    ck_assert(isnan(report.label_chance) == !labelled);
    has_code(o->out, "raw", &report.raw);
    has_code(o->out, "projected", &report.projected);
    SAYS(o->out, "\"group\": \"C4\", \"order\": 4, \"kind\": \"max\", \"k\": 7");
    for (int code = 0; code < 2; code++) {
        const char *list = strstr(o->out, code ? "\"projected\": " : "\"raw\": ");
        list = strstr(list, "\"invariance_error_by_element\": [") + 32;
        for (int g = 0; g < 4; g++) {
            char *end;
            const double value = strtod(list, &end);
            ck_assert(value == tensor_get(&error, code * 4 + g));
            list = end + 1;
        }
    }
    ck_assert_msg(strcmp(strchr(o->out, '\n'), "\n") == 0, "more than one line: %s", o->out);
    equinv_projection_destroy(projection);
    equinv_tensor_destroy(ctx, &error), equinv_tensor_destroy(ctx, &labels);
    equinv_tensor_destroy(ctx, &z);
    equinv_context_destroy(ctx);
    folder_remove(folder);
}
END_TEST

START_TEST(report_as_a_table)
{
    static const char *const lines[] = {
        "latents        40 of 12 numbers; 40 in pairwise figures",
        "group          C4, 4 elements",
        "projection     linear, 64 templates (gaussian, seed 0), codes of 64 numbers",
        "fixed by group 3 of 12 dimensions, which keep 0.",
        "invariance error e ",
        "invariance error r ",
        "invariance error r^2 ",
        "invariance error r^3 ",
        "inside orbits ",
        "between orbits ",
        "5-NN accuracy ",
        "commonest class ",
        "Raw latents of one orbit lie ",
    };
    const char *const folder = folder_new();
    equinv_context *const ctx = context_new();
    equinv_tensor z, labels;
    save_labelled(ctx, folder, &z, &labels);
    const outcome *o = RUN(folder, "report", "z.npy", "--group", "C4", "--labels", "labels.npy");
    SUCCEEDS(o);
    for (size_t i = 0; i < sizeof lines / sizeof *lines; i++)
        ck_assert_msg(has_line(o->out, lines[i]), "no line \"%s\" in:\n%s", lines[i], o->out);
    SAYS(o->out, "Turned queries find their class in ");

    o = RUN(folder, "report", "z.npy", "--group", "D2", "--kind", "orbit");
    SUCCEEDS(o);
    ck_assert(has_line(o->out, "invariance error r f "));
    ck_assert(has_line(o->out, "invariance error f "));
    SAYS(o->out, "they are not invariant");
    ck_assert(strstr(o->out, "accuracy") == NULL);

    /* Many elements: the table stops, the object does not. */
    rng r = {43};
    equinv_tensor many = tensor_random(ctx, &r, EQUINV_F32, 2, 6, 64);
    OK(equinv_tensor_save(ctx, at(folder, "many.npy"), &many));
    o = RUN(folder, "report", "many.npy", "--group", "C32");
    SUCCEEDS(o);
    ck_assert(has_line(o->out, "invariance error r^15 "));
    ck_assert(!has_line(o->out, "invariance error r^16 "));
    ck_assert(has_line(o->out, "  and 16 more elements (--json has them)"));
    equinv_tensor_destroy(ctx, &many);

    /* Nothing to compare, and nothing finite: sentences of their own, no "nan" in sight. */
    for (int alike = 0; alike < 2; alike++) {
        equinv_tensor odd = tensor_new(ctx, EQUINV_F64, 2, 6, 4);
        for (int i = 0; i < 24; i++)
            tensor_set(&odd, i, alike ? 1 : (double)NAN);
        OK(equinv_tensor_save(ctx, at(folder, "odd.npy"), &odd));
        o = RUN(folder, "report", "odd.npy", "--group", "C4");
        GIVES(*o, DONE);
        ck_assert_str_eq(
            o->err, alike ? ""
                          : "equinv: report: 6 of 6 rows of odd.npy have NaN or infinity, the "
                            "first is row 0 (from 0); figures that they enter cannot be told\n");
        SAYS(o->out, alike ? "are alike; there are no distances" : "are not finite");
        SAYS(o->out, "which keep - of the variance");
        ck_assert_msg(strstr(o->out, "nan") == NULL, "nan in: %s", o->out);
        equinv_tensor_destroy(ctx, &odd);
    }
    equinv_tensor_destroy(ctx, &labels), equinv_tensor_destroy(ctx, &z);
    equinv_context_destroy(ctx);
    folder_remove(folder);
}
END_TEST

START_TEST(report_takes_labels_as_idx_or_npy)
{
    const char *const folder = folder_new();
    equinv_context *const ctx = context_new();
    equinv_tensor z, labels;
    uint8_t values[40];
    char first[16384];
    save_labelled(ctx, folder, &z, &labels);
    for (int i = 0; i < 40; i++)
        values[i] = (uint8_t)tensor_get(&labels, i);
    save_idx(at(folder, "labels-idx1-ubyte"), 1, (int[]){40}, values);
    const outcome *o =
        RUN(folder, "report", "z.npy", "--group", "C4", "--labels", "labels.npy", "--json");
    SUCCEEDS(o);
    strcpy(first, o->out);
    o = RUN(folder, "report", "z.npy", "--group", "C4", "--labels", "labels-idx1-ubyte", "--json");
    SUCCEEDS(o);
    ck_assert_str_eq(o->out, first);
    equinv_tensor_destroy(ctx, &labels), equinv_tensor_destroy(ctx, &z);
    equinv_context_destroy(ctx);
    folder_remove(folder);
}
END_TEST

static const struct {
    const char *const *arguments;
    int code;
    const char *words;
} report_refusals[] = {
    {ARGUMENTS("--group", "C4"), USAGE, "no file of latents was given"},
    {ARGUMENTS("z.npy"), USAGE, "--group is missing"},
    {ARGUMENTS("z.npy", "z.npy", "--group", "C4"), USAGE, "unexpected argument \"z.npy\""},
    {ARGUMENTS("z.npy", "--group", "C4", "--sample", "1"), USAGE,
     "--sample is \"1\", expected a whole number from 2 to 2147483647"},
    {ARGUMENTS("z.npy", "--group", "C4", "--neighbours", "0"), USAGE, "--neighbours is \"0\""},
    {ARGUMENTS("z.npy", "--group", "C4", "--labels", "z.npy"), REFUSED,
     "z.npy has element type f32, expected integers"},
    {ARGUMENTS("z.npy", "--group", "C4", "--labels", "few.npy"), REFUSED,
     "few.npy has shape [39], expected [40], a label for every latent of z.npy"},
    {ARGUMENTS("z.npy", "--group", "C4", "--labels", "none.npy"), REFUSED, "none.npy"},
    {ARGUMENTS("z.npy", "--group", "S", "--kind", "sort"), REFUSED, "S"},
    {ARGUMENTS("z.npy", "--group", "D4"), REFUSED, "z.npy has shape [40, 3, 4], expected"},
    {ARGUMENTS("none.npy", "--group", "C4"), REFUSED, "none.npy"},
};

START_TEST(report_refuses_with_a_sentence)
{
    const char *const folder = folder_new();
    equinv_context *const ctx = context_new();
    equinv_tensor z, labels, few;
    save_labelled(ctx, folder, &z, &labels);
    OK(equinv_tensor_rows(&labels, 0, 39, &few));
    OK(equinv_tensor_save(ctx, at(folder, "few.npy"), &few));
    for (size_t i = 0; i < sizeof report_refusals / sizeof *report_refusals; i++)
        FAILS_WITH(run_list(folder, "report", report_refusals[i].arguments),
                   report_refusals[i].code, report_refusals[i].words);
    equinv_tensor_destroy(ctx, &labels), equinv_tensor_destroy(ctx, &z);
    equinv_context_destroy(ctx);
    folder_remove(folder);
}
END_TEST

START_TEST(report_gives_advice_and_draws)
{
    const char *const folder = folder_new();
    equinv_context *const ctx = context_new();
    equinv_tensor z, labels;
    char text[8192];
    save_labelled(ctx, folder, &z, &labels);
    const outcome *o = RUN(folder, "report", "z.npy", "--group", "C2xC2", "--kind", "max", "-k",
                           "24", "--picture", "h.gp");
    SUCCEEDS(o);
    ck_assert(has_line(o->out, "own orbit nearest"));
    ck_assert(has_line(o->out, "invariance error 3"));
    SAYS(o->out, "Advice: --kind max -k 24: the orbit mean keeps 0.2");
    SAYS(o->out, "within 0.25 with 919 templates");
    read_text(folder, "h.gp", text, sizeof text);
    SAYS(text, "max, 24 templates: distances of codes / distances of orbits");
    /* Shares of all pairs. */
    const char *from = text;
    for (int row = 0; row < 2; row++) {
        double sum = 0;
        from = strstr(from, " << EOD\n") + 8;
        while (strncmp(from, "EOD", 3) != 0) {
            double x, share;
            ck_assert(sscanf(from, "%lf %lf", &x, &share) == 2);
            sum += share;
            from = strchr(from, '\n') + 1;
        }
        ck_assert_msg(fabs(sum - 1) < 1e-4, "%g", sum);
    }
    const char *const picture = "it's \"h\" 100%d \\n\n.png";
    o = RUN(folder, "report", "z.npy", "--group", "C4", "--picture", picture);
    if (o->code == 0)
        ck_assert(access(at(folder, picture), F_OK) == 0);
    else
        SAYS(o->err, "gnuplot: No such file");
    for (int64_t i = 0; i < equinv_tensor_count(&z); i++)
        tensor_set(&z, i, (double)(i / 4));
    OK(equinv_tensor_save(ctx, at(folder, "z.npy"), &z));
    o = RUN(folder, "report", "z.npy", "--group", "C4", "--distortion", "0.5");
    SUCCEEDS(o);
    SAYS(o->out, "Advice: --kind linear -k 3: the orbit mean keeps 1 of the variance in 3 of 12");
    FAILS_WITH(RUN(folder, "report", "z.npy", "--group", "C4", "--distortion", "1"), USAGE,
               "--distortion is \"1\", expected between 0 and 1");
    FAILS_WITH(RUN(folder, "report", "z.npy", "--group", "C4", "--picture", "no/h.gp"), REFUSED,
               "no/h.gp could not be written: No such file");
    equinv_tensor_destroy(ctx, &z), equinv_tensor_destroy(ctx, &labels);
    equinv_context_destroy(ctx);
    folder_remove(folder);
}
END_TEST

/* ---- neighbours ----------------------------------------------------------------------------- */

START_TEST(neighbours_are_the_librarys)
{
    enum { K = 3 };
    const char *const folder = folder_new();
    equinv_context *const ctx = context_new();
    rng r = {77};
    const bool symmetric = _i == 1;
    const equinv_group group = symmetric ? equinv_symmetric() : equinv_cyclic(4);
    equinv_tensor data = tensor_random(ctx, &r, EQUINV_F32, 3, 90, 3, 4);
    equinv_tensor queries = tensor_random(ctx, &r, EQUINV_F32, 3, 70, 3, 4);
    equinv_tensor index = tensor_new(ctx, EQUINV_I32, 2, 70, K), got_index, got_distance;
    equinv_tensor distance = tensor_new(ctx, EQUINV_F32, 2, 70, K);
    OK(equinv_tensor_save(ctx, at(folder, "data.npy"), &data));
    OK(equinv_tensor_save(ctx, at(folder, "queries.npy"), &queries));
    OK(equinv_neighbours(ctx, group, &data, &queries, K, &distance, &index));
    const outcome *const o =
        RUN(folder, "neighbours", "data.npy", "queries.npy", "--group", symmetric ? "S" : "C4",
            "-k", "3", "-o", "index.npy", "--distances", "distance.npy", "--json");
    SUCCEEDS(o);
    SAYS(o->out, symmetric ? "\"group\": \"S\", \"data\": 90, \"queries\": 70, \"k\": 3"
                           : "\"group\": \"C4\", \"data\": 90, \"queries\": 70, \"k\": 3");
    OK(equinv_tensor_load(ctx, at(folder, "index.npy"), &got_index));
    OK(equinv_tensor_load(ctx, at(folder, "distance.npy"), &got_distance));
    ASSERT_SAME(&got_index, &index);
    ASSERT_SAME(&got_distance, &distance);
    equinv_tensor *const all[] = {&data, &queries, &index, &distance, &got_index, &got_distance};
    for (int i = 0; i < 6; i++)
        equinv_tensor_destroy(ctx, all[i]);
    equinv_context_destroy(ctx);
    folder_remove(folder);
}
END_TEST

START_TEST(neighbours_count_rows_that_are_not_finite)
{
    const char *const folder = folder_new();
    equinv_context *const ctx = context_new();
    rng r = {78};
    equinv_tensor data = tensor_random(ctx, &r, EQUINV_F32, 3, 20, 3, 4);
    equinv_tensor queries = tensor_random(ctx, &r, EQUINV_F32, 3, 9, 3, 4);
    tensor_set(&data, 11 * 12, (double)NAN);
    tensor_set(&queries, 4 * 12 + 3, -(double)INFINITY);
    tensor_set(&queries, 8 * 12 + 11, (double)NAN);
    OK(equinv_tensor_save(ctx, at(folder, "data.npy"), &data));
    OK(equinv_tensor_save(ctx, at(folder, "queries.npy"), &queries));
    const outcome *const o =
        RUN(folder, "neighbours", "data.npy", "queries.npy", "--group", "C4", "-o", "index.npy");
    GIVES(*o, DONE);
    SAYS(o->err, "1 of 20 rows of data.npy have NaN or infinity, the first is row 11 (from 0)");
    SAYS(o->err, "2 of 9 rows of queries.npy have NaN or infinity, the first is row 4 (from 0)");
    equinv_tensor_destroy(ctx, &data), equinv_tensor_destroy(ctx, &queries);
    equinv_context_destroy(ctx);
    folder_remove(folder);
}
END_TEST

static const struct {
    const char *const *arguments;
    int code;
    const char *words;
} neighbours_refusals[] = {
    {ARGUMENTS("z.npy", "--group", "C4", "-o", "i.npy"), USAGE, "two files were expected"},
    {ARGUMENTS("z.npy", "z.npy", "--group", "C4"), USAGE, "-o is missing"},
    {ARGUMENTS("z.npy", "z.npy", "-o", "i.npy"), USAGE, "--group is missing"},
    {ARGUMENTS("z.npy", "z.npy", "--group", "Q8", "-o", "i.npy"), USAGE, "Q8"},
    {ARGUMENTS("z.npy", "z.npy", "--group", "C4", "-o", "i.npy", "--k", "0"), USAGE,
     "--k is \"0\""},
    {ARGUMENTS("z.npy", "z.npy", "--group", "C4", "-o", "i.npy", "--k", "41"), REFUSED,
     "--k is 41, expected at most the 40 latents of z.npy"},
    {ARGUMENTS("z.npy", "z.npy", "--group", "C4", "-o", "z.npy"), REFUSED, "would be replaced"},
    {ARGUMENTS("z.npy", "labels.npy", "--group", "C4", "-o", "i.npy"), REFUSED,
     "labels.npy has shape [40], expected rows like those of z.npy, [40, 3, 4]"},
    {ARGUMENTS("none.npy", "z.npy", "--group", "C4", "-o", "i.npy"), REFUSED, "none.npy"},
};

START_TEST(neighbours_refuses_with_a_sentence)
{
    const char *const folder = folder_new();
    equinv_context *const ctx = context_new();
    equinv_tensor z, labels;
    save_labelled(ctx, folder, &z, &labels);
    for (size_t i = 0; i < sizeof neighbours_refusals / sizeof *neighbours_refusals; i++) {
        FAILS_WITH(run_list(folder, "neighbours", neighbours_refusals[i].arguments),
                   neighbours_refusals[i].code, neighbours_refusals[i].words);
        ck_assert(access(at(folder, "i.npy"), F_OK) != 0);
    }
    equinv_tensor_destroy(ctx, &labels), equinv_tensor_destroy(ctx, &z);
    equinv_context_destroy(ctx);
    folder_remove(folder);
}
END_TEST

int main(void)
{
    const test_entry tests[] = {
        {report_gives_advice_and_draws, 1},
        {report_as_json_has_the_librarys_figures, 2},
        {report_as_a_table, 1},
        {report_takes_labels_as_idx_or_npy, 1},
        {neighbours_are_the_librarys, 2},
        {neighbours_count_rows_that_are_not_finite, 1},
        {neighbours_refuses_with_a_sentence, 1},
        {report_refuses_with_a_sentence, 1},
    };
    return run_tests("cli_report", tests, sizeof tests / sizeof *tests);
}
