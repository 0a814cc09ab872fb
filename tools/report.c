/* equinv report: what an invariant projection gains and loses on given latents. */
#include <errno.h>
#include <math.h>
#include <string.h>

#include "tools/gnuplot.h"
#include "tools/tool.h"

typedef struct options {
    const char *latents, *labels, *picture;
    bool as_json;
    double distortion;
    equinv_report_desc report;
    projection_options projection;
    equinv_context_desc device;
} options;

enum { KEY_LABELS = 1, KEY_SAMPLE, KEY_NEIGHBOURS, KEY_JSON, KEY_PICTURE, KEY_DISTORTION };

static error_t parse(int key, char *argument, struct argp_state *state)
{
    options *const o = state->input;
    bool good = true;
    switch (key) {
    case ARGP_KEY_INIT:
        state->child_inputs[0] = &o->projection;
        state->child_inputs[1] = &o->device;
        break;
    case KEY_LABELS: o->labels = argument; break;
    case KEY_SAMPLE:
        good = option_integer("--sample", argument, 2, INT32_MAX, &o->report.sample);
        break;
    case KEY_NEIGHBOURS:
        good = option_integer("--neighbours", argument, 1, INT32_MAX, &o->report.neighbours);
        break;
    case KEY_JSON: o->as_json = true; break;
    case KEY_PICTURE: o->picture = argument; break;
    case KEY_DISTORTION:
        good = option_number("--distortion", argument, &o->distortion);
        if (good && !(o->distortion > 0 && o->distortion < 1)) {
            tool_misused("--distortion is \"%s\", expected between 0 and 1", argument);
            good = false;
        }
        break;
    case ARGP_KEY_ARG:
        good = !o->latents;
        if (!good)
            tool_misused("unexpected argument \"%s\", expected one file of latents", argument);
        o->latents = argument;
        break;
    default: return ARGP_ERR_UNKNOWN;
    }
    return good ? 0 : EINVAL;
}

static const struct argp argp = {
    .options =
        (const struct argp_option[]){
            {"labels", KEY_LABELS, "FILE", 0,
             "a class for every latent: IDX or 1-D integer NPY, plain or gzipped", 0},
            {"sample", KEY_SAMPLE, "N", 0,
             "latents used at most for pairwise figures, spread evenly; default 1000", 0},
            {"neighbours", KEY_NEIGHBOURS, "N", 0, "nearest neighbours that vote; default 5", 0},
            {"json", KEY_JSON, NULL, 0, "print one JSON object instead of the table", 0},
            {"distortion", KEY_DISTORTION, "E", 0,
             "of squared distances of orbit means, for which the number of templates is told; "
             "default 0.25",
             0},
            {"picture", KEY_PICTURE, "OUT.png", 0,
             "draw how distances of codes relate to orbit distances, by gnuplot; other names: its "
             "commands with the numbers",
             0},
            {0},
        },
    .parser = parse,
    .args_doc = "LATENTS --group GROUP",
    .doc =
        "Tells how far raw latents and their invariant codes can be compared: how much the group's "
        "action changes them, how they spread inside and between orbits, how distances of codes "
        "relate to distances of orbits, and how much is kept.\v"
        "LATENTS is NPY or IDX, plain or gzipped, of at least two latents: [B, fields, |G|], "
        "[B, fields, |G|, H, W], [B, fields * |G|, H, W] or [B, D] with D a multiple of |G|. It is "
        "held in memory. --group S and its kinds have no elements to enumerate and are refused.\n"
        "\n"
        "The table, for raw latents z and codes p(z):\n"
        "  invariance error   for every g, largest |p(g z) - p(z)| / largest |p(z)|\n"
        "  inside orbits      mean distance of p(g z) and p(z)\n"
        "  between orbits     mean distance of the codes of two latents\n"
        "  distortion         range of distance of codes / distance of orbits\n"
        "  own orbit nearest  share of latents that, moved by random g, are nearest to themselves\n"
        "  accuracy           nearest-neighbour vote on queries moved by random g\n"
        "\n"
        "Examples:\n"
        "  equinv report latents.npy --group C4 --labels t10k-labels-idx1-ubyte.gz\n"
        "  equinv report latents.npy --group D4 --kind max --k 256 --json\n"
        "\n"
        "Exit codes: 0 done, 1 refused or failed, 2 wrong usage, 130 interrupted.",
    .children = (const struct argp_child[]){{&projection_argp, 0, NULL, 0},
                                            {&device_argp, 0, NULL, 0},
                                            {0}},
};

typedef struct work {
    equinv_context *ctx;
    equinv_tensor latents, labels, error, ratios;
    equinv_projection *projection;
    equinv_report report;
} work;

static int load_labels(work *w, const char *path, const char *latents_path)
{
    char has[200];
    equinv_tensor loaded;
    int code = -1;
    if (equinv_tensor_load(w->ctx, path, &loaded))
        return tool_refused();
    if (loaded.dtype == EQUINV_F32 || loaded.dtype == EQUINV_F64)
        code = tool_fail("%s has element type %s, expected integers", path,
                         equinv_dtype_name(loaded.dtype));
    else if (loaded.ndim != 1 || loaded.shape[0] != w->latents.shape[0])
        code = tool_fail("%s has shape %s, expected [%" PRId64 "], a label for every latent of %s",
                         path, shape_text(loaded.ndim, loaded.shape, has, sizeof has),
                         w->latents.shape[0], latents_path);
    else if (equinv_tensor_create(w->ctx, EQUINV_I32, 1, loaded.shape, &w->labels) ||
             equinv_tensor_convert(w->ctx, &loaded, 1.0, 0.0, &w->labels))
        code = tool_refused();
    equinv_tensor_destroy(w->ctx, &loaded);
    return code;
}

static int compute(work *w, options *o)
{
    equinv_projection_desc *const desc = &o->projection.desc;
    if (o->device.device == EQUINV_DEVICE_CUDA)
        return tool_fail(
            "--device is cuda, but reports are computed on the CPU; expected auto or cpu");
    o->device.device = EQUINV_DEVICE_CPU;
    if (equinv_context_create(&o->device, &w->ctx) || load_real(w->ctx, o->latents, &w->latents))
        return tool_refused();
    int code = projection_shape(o->latents, &w->latents, desc);
    if (code < 0 && o->labels)
        code = load_labels(w, o->labels, o->latents);
    if (code >= 0)
        return code;
    int32_t order;
    if (equinv_projection_create(w->ctx, desc, &w->projection) ||
        equinv_group_order(desc->group, &order) ||
        equinv_tensor_create(w->ctx, EQUINV_F64, 2, (int64_t[]){2, order}, &w->error))
        return tool_refused();
    o->report.seed = desc->seed;
    o->report.progress = progress_step;
    if (o->picture) {
        const int64_t all = w->latents.shape[0];
        const int64_t sampled = o->report.sample < all ? o->report.sample : all;
        if (equinv_tensor_create(w->ctx, EQUINV_F64, 2, (int64_t[]){2, sampled * (sampled - 1) / 2},
                                 &w->ratios))
            return tool_refused();
        o->report.ratios = &w->ratios;
    }
    progress_start(NULL);
    if (equinv_report_compute(w->projection, &w->latents, o->labels ? &w->labels : NULL, &o->report,
                              &w->report, &w->error))
        return tool_refused();
    progress_clear();
    count_odd(o->latents, &w->latents, "figures that they enter cannot be told");
    return -1;
}

/* ---- the table ------------------------------------------------------------------------------ */

/* "e", "r", "r^2", "f", "r f", "r^2 f" */
static const char *element_name(equinv_group group, int32_t element, char *text, size_t size)
{
    if (group.kind == EQUINV_GROUP_TABLE) {
        snprintf(text, size, "%" PRId32, element);
        return text;
    }
    const int32_t turn = element % group.n;
    const bool mirror = element >= group.n;
    if (element == 0)
        return "e";
    if (turn == 0)
        return "f";
    if (turn == 1)
        return mirror ? "r f" : "r";
    snprintf(text, size, mirror ? "r^%" PRId32 " f" : "r^%" PRId32, turn);
    return text;
}

/* A line of the table; NaN is what could not be said. */
static void line(const char *name, double raw, double projected)
{
    const double values[] = {raw, projected};
    printf("%-22s", name);
    for (int i = 0; i < 2; i++)
        if (isnan(values[i]))
            printf(" %12s", "-");
        else
            printf(" %12.4g", values[i]);
    putchar('\n');
}

static double error_at(const work *w, int64_t code, int64_t element)
{
    return ((const double *)w->error.data)[code * w->report.order + element];
}

/* Invariant or not; then accuracy where there are labels, else distances. */
static void print_second_sentence(const equinv_report *r, bool labelled)
{
    const double rounding = 1e-3; /* far above what sums of fp32 leave */
    if (!(r->projected.invariance_error <= rounding))
        printf("These codes change when the group acts: they are not invariant, and distances "
               "between them depend on the pose.\n");
    else if (labelled)
        printf("Turned queries find their class in %.1f %% of the cases by raw latents and in %.1f "
               "%% by codes; naming the commonest class gives %.1f %%.\n",
               100 * r->raw.knn_accuracy, 100 * r->projected.knn_accuracy, 100 * r->label_chance);
    else
        printf("Codes do not change when the group acts; their distances are %.2g to %.2g times "
               "those of the orbits.\n",
               r->projected.distortion_min, r->projected.distortion_max);
}

/* One or two sentences on what the figures mean. */
static void print_reading(const work *w, const options *o)
{
    const equinv_report *const r = &w->report;
    putchar('\n');
    if (!isfinite(r->raw.invariance_error) || !isfinite(r->projected.invariance_error)) {
        printf("Some latents or codes are not finite; figures that they enter cannot be told.\n");
    } else if (!(r->raw.between > 0 && r->projected.between > 0)) {
        printf("All latents that were compared, or all their codes, are alike; there are no "
               "distances to judge.\n");
    } else {
        printf("Raw latents of one orbit lie %.2g times as far apart as latents of different "
               "orbits, their codes %.2g times.\n",
               r->raw.within / r->raw.between, r->projected.within / r->projected.between);
        print_second_sentence(r, o->labels != NULL);
    }
}

/* ---- advice ----------------------------------------------------------------------------------- */

typedef struct advice {
    equinv_projection_kind kind;
    int64_t k,
        bound; /* bound: templates that keep squared distances within --distortion; 0: none */
    char reason[320];
} advice;

/* What the orbit mean keeps decides: where it keeps most, the linear projection is the cheapest. */
static advice advise(const equinv_report *r, const options *o)
{
    const double most = 0.5; /* of the variance */
    advice a = {.kind = EQUINV_PROJECT_LINEAR};
    if (equinv_templates_for_distortion(r->latents, o->distortion, 0.01, &a.bound))
        a.bound = 0;
    if (r->kept_variance >= most) {
        a.k = a.bound > 0 && a.bound < r->rank ? a.bound : r->rank;
        snprintf(a.reason, sizeof a.reason,
                 "the orbit mean keeps %.3g of the variance in %" PRId64 " of %" PRId64
                 " dimensions; %s",
                 r->kept_variance, r->rank, r->dimension,
                 a.k == r->rank ? "so many orthonormal templates keep all of that"
                                : "so many keep its squared distances as close as asked for");
        return a;
    }
    a.kind = EQUINV_PROJECT_MAX;
    a.k = 2 * r->dimension;
    snprintf(
        a.reason, sizeof a.reason,
        "the orbit mean keeps %.3g of the variance only; twice the dimension of generic "
        "templates tells all orbits apart (Mixon, Qaddura); fewer often do: look at \"own orbit "
        "nearest\"",
        r->kept_variance);
    return a;
}

static void print_advice(const equinv_report *r, const options *o)
{
    if (!isfinite(r->kept_variance))
        return;
    const advice a = advise(r, o);
    if (a.bound > 0)
        printf(
            "Linear codes keep squared distances between the orbit means of these latents within "
            "%.3g with %" PRId64 " templates (--scaled; chance of failure 0.01); orbit means are "
            "nearer than orbits.\n",
            o->distortion, a.bound);
    printf("Advice: --kind %s -k %" PRId64 ": %s.\n", kind_name(a.kind), a.k, a.reason);
}

/* ---- the picture ------------------------------------------------------------------------------ */

enum { BINS = 60 };

/* Shares of the pairs, for ratios divided by their mean, in bins of 0 .. 2 means; the last has the rest. */
static void fill_bins(const equinv_tensor *ratios, int64_t row, double bins[BINS], double *mean)
{
    const int64_t pairs = ratios->shape[1];
    const double *const all = (const double *)ratios->data + row * pairs;
    double sum = 0, count = 0;
    for (int64_t i = 0; i < pairs; i++)
        if (isfinite(all[i])) {
            sum += all[i];
            count++;
        }
    *mean = sum / count;
    for (int i = 0; i < BINS; i++)
        bins[i] = 0;
    for (int64_t i = 0; i < pairs; i++)
        if (isfinite(all[i])) {
            const double at = all[i] / *mean * BINS / 2;
            bins[at < BINS ? (int)at : BINS - 1] += 1 / count;
        }
}

static bool ends_in(const char *text, const char *end)
{
    const size_t length = strlen(text), tail = strlen(end);
    return length >= tail && strcmp(text + length - tail, end) == 0;
}

static void write_plot(FILE *to, const work *w, const options *o, bool png)
{
    static const char *const names[] = {"raw latents", "codes"};
    double bins[2][BINS], means[2];
    for (int row = 0; row < 2; row++)
        fill_bins(&w->ratios, row, bins[row], &means[row]);
    if (png)
        fprintf(to, "set terminal pngcairo size 640,400\n");
    fprintf(to, "set title '%s, %" PRId64 " templates: distances of codes / distances of orbits'\n",
            kind_name(o->projection.desc.kind), o->projection.desc.k);
    fprintf(to,
            "set xlabel 'ratio / its mean (raw %.3g, codes %.3g)'\nset ylabel 'share of pairs'\n"
            "set xrange [0:2]\nset yrange [0:*]\n",
            means[0], means[1]);
    for (int row = 0; row < 2; row++) {
        fprintf(to, "$d%d << EOD\n", row);
        for (int i = 0; i < BINS; i++)
            fprintf(to, "%g %g\n", (i + 0.5) * 2 / BINS, bins[row][i]);
        fprintf(to, "EOD\n");
    }
    fprintf(to, "plot $d0 with histeps lw 2 title '%s', $d1 with histeps lw 2 title '%s'\n",
            names[0], names[1]);
}

/* -1, or the exit code. */
static int draw(const work *w, const options *o)
{
    const bool png = ends_in(o->picture, ".png");
    if (png) {
        gnuplot g;
        if (!gnuplot_start(&g, o->picture))
            return tool_fail("%s could not be written: gnuplot: %s", o->picture, strerror(errno));
        write_plot(g.to, w, o, true);
        if (!gnuplot_end(&g))
            return tool_fail("%s could not be written: gnuplot failed", o->picture);
        return -1;
    }
    FILE *const to = fopen(o->picture, "w");
    if (!to)
        return tool_fail("%s could not be written: %s", o->picture, strerror(errno));
    write_plot(to, w, o, false);
    const bool failed = ferror(to);
    if (fclose(to) != 0 || failed)
        return tool_fail("%s could not be written", o->picture);
    return -1;
}

/* ---- the table -------------------------------------------------------------------------------- */

static void print_table(const work *w, const options *o)
{
    enum { SHOWN = 16 };
    const equinv_report *const r = &w->report;
    const equinv_projection_desc *const desc = &o->projection.desc;
    char group[16], text[24], name[64];
    printf("latents        %" PRId64 " of %" PRId64 " numbers; %" PRId64 " in pairwise figures\n",
           r->latents, r->dimension, r->sampled);
    printf("group          %s, %" PRId32 " elements\n",
           group_text(o->projection.group, desc->group, group, sizeof group), r->order);
    printf("projection     %s, %" PRId64 " templates (%s, seed %" PRIu64 "), codes of %" PRId64
           " numbers\n",
           kind_name(desc->kind), desc->k, templates_name(desc->templates), desc->seed,
           r->code_dimension);
    if (isfinite(r->kept_variance))
        snprintf(text, sizeof text, "%.3g", r->kept_variance);
    else
        snprintf(text, sizeof text, "-");
    printf("fixed by group %" PRId64 " of %" PRId64
           " dimensions, which keep %s of the variance\n\n",
           r->rank, r->dimension, text);
    printf("%-22s %12s %12s\n", "", "raw", "projected");
    const int32_t shown = r->order <= SHOWN ? r->order : SHOWN;
    for (int32_t g = 0; g < shown; g++) {
        snprintf(name, sizeof name, "invariance error %s",
                 element_name(desc->group, g, text, sizeof text));
        line(name, error_at(w, 0, g), error_at(w, 1, g));
    }
    if (shown < r->order)
        printf("  and %" PRId32 " more elements (--json has them)\n", r->order - shown);
    line("largest", r->raw.invariance_error, r->projected.invariance_error);
    line("inside orbits", r->raw.within, r->projected.within);
    line("between orbits", r->raw.between, r->projected.between);
    line("inside / between", r->raw.within / r->raw.between,
         r->projected.within / r->projected.between);
    line("distortion from", r->raw.distortion_min, r->projected.distortion_min);
    line("           to", r->raw.distortion_max, r->projected.distortion_max);
    line("own orbit nearest", r->raw.own_nearest, r->projected.own_nearest);
    if (o->labels) {
        snprintf(name, sizeof name, "%" PRId64 "-NN accuracy", o->report.neighbours);
        line(name, r->raw.knn_accuracy, r->projected.knn_accuracy);
        line("commonest class", r->label_chance, r->label_chance);
    }
    print_reading(w, o);
    print_advice(r, o);
}

static void json_code(json *j, const work *w, const char *key, int64_t row,
                      const equinv_report_code *code)
{
    json_open(j, key, '{');
    json_number(j, "invariance_error", code->invariance_error);
    json_open(j, "invariance_error_by_element", '[');
    for (int32_t g = 0; g < w->report.order; g++)
        json_number(j, NULL, error_at(w, row, g));
    json_close(j);
    json_number(j, "within", code->within);
    json_number(j, "between", code->between);
    json_number(j, "distortion_min", code->distortion_min);
    json_number(j, "distortion_max", code->distortion_max);
    json_number(j, "knn_accuracy", code->knn_accuracy);
    json_number(j, "own_nearest", code->own_nearest);
    json_close(j);
}

static void print_json(const work *w, const options *o)
{
    const equinv_report *const r = &w->report;
    const equinv_projection_desc *const desc = &o->projection.desc;
    char group[16];
    json j = {.file = stdout};
    json_open(&j, NULL, '{');
    json_integer(&j, "latents", r->latents);
    json_integer(&j, "sampled", r->sampled);
    json_integer(&j, "dimension", r->dimension);
    json_text(&j, "group", group_text(o->projection.group, desc->group, group, sizeof group));
    json_integer(&j, "order", r->order);
    json_text(&j, "kind", kind_name(desc->kind));
    json_integer(&j, "k", desc->k);
    json_text(&j, "templates", templates_name(desc->templates));
    json_unsigned(&j, "seed", desc->seed);
    json_text(&j, "impl", equinv_projection_impl_name(w->projection));
    json_integer(&j, "code_dimension", r->code_dimension);
    json_integer(&j, "rank", r->rank);
    json_number(&j, "kept_variance", r->kept_variance);
    json_integer(&j, "neighbours", o->report.neighbours);
    json_number(&j, "label_chance", r->label_chance);
    json_code(&j, w, "raw", 0, &r->raw);
    json_code(&j, w, "projected", 1, &r->projected);
    if (isfinite(r->kept_variance)) {
        const advice a = advise(r, o);
        json_open(&j, "advice", '{');
        json_text(&j, "kind", kind_name(a.kind));
        json_integer(&j, "k", a.k);
        json_text(&j, "reason", a.reason);
        json_number(&j, "distortion", o->distortion);
        json_integer(&j, "templates_for_distortion", a.bound);
        json_close(&j);
    }
    json_close(&j);
}

static int run(int argc, char **argv)
{
    options o = {.distortion = 0.25,
                 .report = EQUINV_REPORT_DESC_INIT,
                 .projection = PROJECTION_OPTIONS_INIT,
                 .device = EQUINV_CONTEXT_DESC_INIT};
    work w = {0};
    int code = tool_parse(&argp, 0, argc, argv, &o);
    if (code >= 0)
        return code;
    if (!o.latents)
        return tool_misused("no file of latents was given");
    code = projection_group(&o.projection);
    if (code >= 0)
        return code;

    tool_catch_signals();
    code = compute(&w, &o);
    if (code < 0 && o.picture)
        code = draw(&w, &o);
    if (code < 0) {
        if (o.as_json)
            print_json(&w, &o);
        else
            print_table(&w, &o);
        code = TOOL_DONE;
    }
    equinv_projection_destroy(w.projection);
    equinv_tensor_destroy(w.ctx, &w.ratios);
    equinv_tensor_destroy(w.ctx, &w.error);
    equinv_tensor_destroy(w.ctx, &w.labels);
    equinv_tensor_destroy(w.ctx, &w.latents);
    equinv_context_destroy(w.ctx);
    return code;
}

const command report_command = {"report", "what a projection gains and loses on given latents",
                                run};
