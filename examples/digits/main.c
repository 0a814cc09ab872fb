/*
 * Latent codes of a C4-equivariant classifier of digits, raw and through every kind of projection: at three
 * layers, with and without space left, with 8 to 256 templates; how well turned digits find their class,
 * and how much of a digit's orientation the codes still tell.
 *
 *     build/bin/equinv-digits [--seed N] [--output FOLDER] [--device cuda]
 *
 * The network is the demo's. Writes FOLDER/digits.json and, where gnuplot is found, two pictures.
 */
#include <math.h>
#include <string.h>

#include "examples/common/experiment.h"

enum { EPOCHS = 10, K = 64 };
#define REPORT_FILE "digits.json"

const char program_name[] = "equinv-digits";

/* ---- codes ---------------------------------------------------------------------------------- */

enum {
    RAW,
    UNFOLDED,
    GROUP_MEAN,
    GROUP_MAX,
    CANONICAL,
    LINEAR,
    LINEAR_SIGNS,
    LINEAR_ORTHONORMAL,
    MEAN,
    MEAN_RELU,
    MEAN_ABS,
    MEAN_SQUARE,
    MOMENT3,
    CDF,
    MIN,
    MAX,
    SORTED,
    POWER,
    BISPECTRUM,
    CODES
};

#define PROJECTED(word, words, how, random)                                                        \
    {                                                                                              \
        word, words, CODE_PROJECT, .projection = EQUINV_PROJECT_##how, .k = K,                     \
                                   .templates = EQUINV_TEMPLATE_##random                           \
    }
static const code_desc codes[CODES] = {
    [RAW] = {"raw", "raw latent", .kind = CODE_RAW},
    [UNFOLDED] = {"gaussian", "Gaussian templates, no fold", .kind = CODE_UNFOLDED, .k = K,
                  .templates = EQUINV_TEMPLATE_GAUSSIAN},
    [GROUP_MEAN] = {"group_mean", "group mean pooling", CODE_POOL, .pool = EQUINV_POOL_GROUP_MEAN},
    [GROUP_MAX] = {"group_max", "group max pooling", CODE_POOL, .pool = EQUINV_POOL_GROUP_MAX},
    [CANONICAL] = {"canonical", "canonical representative", .kind = CODE_CANONICAL},
    [LINEAR] = PROJECTED("linear", "linear", LINEAR, GAUSSIAN),
    [LINEAR_SIGNS] = PROJECTED("linear_signs", "linear, random signs", LINEAR, RADEMACHER),
    [LINEAR_ORTHONORMAL] =
        PROJECTED("linear_orthonormal", "linear, orthonormal", LINEAR, ORTHONORMAL),
    [MEAN] = PROJECTED("mean", "mean", MEAN, GAUSSIAN),
    [MEAN_RELU] = PROJECTED("mean_relu", "mean-relu", MEAN_RELU, GAUSSIAN),
    [MEAN_ABS] = PROJECTED("mean_abs", "mean-abs", MEAN_ABS, GAUSSIAN),
    [MEAN_SQUARE] = PROJECTED("mean_square", "mean-square", MEAN_SQUARE, GAUSSIAN),
    [MOMENT3] = PROJECTED("moment3", "third moment", MOMENT3, GAUSSIAN),
    [CDF] = PROJECTED("cdf", "cdf, 5 thresholds", CDF, GAUSSIAN),
    [MIN] = PROJECTED("min", "min", MIN, GAUSSIAN),
    [MAX] = PROJECTED("max", "max", MAX, GAUSSIAN),
    [SORTED] = PROJECTED("sorted", "sorted", SORTED, GAUSSIAN),
    [POWER] = PROJECTED("power", "power spectrum", POWER, GAUSSIAN),
    [BISPECTRUM] = PROJECTED("bispectrum", "bispectrum", BISPECTRUM, GAUSSIAN),
};
static const code_desc orbit_distance = {"orbit_distance", "distance of orbits", .kind = CODE_RAW};

/* All of them at the code layer, these elsewhere. */
static const int everywhere[] = {RAW, GROUP_MAX, LINEAR, MAX, SORTED};
/* Those whose number of templates is varied, and those that linear probes read. */
static const int varied[] = {LINEAR, MAX, SORTED};
static const int64_t template_counts[] = {8, 16, 32, 64, 128, 256};
static const int probed[] = {RAW, GROUP_MAX, LINEAR, MAX, SORTED};
#define COUNT(list) (sizeof(list) / sizeof *(list))

/* ---- layers --------------------------------------------------------------------------------- */

typedef enum layer { LAST, LAST_MEAN, THIRD, SECOND, LAYERS } layer;
static const struct {
    const char *name, *title, *layer;
} layers[LAYERS] = {
    [LAST] = {"last", "Last layer", DIGITS_CODE_LAYER},
    [LAST_MEAN] = {"last_mean", "Last layer, mean over space", NULL}, /* of LAST */
    [THIRD] = {"third", "Third layer", "relu3"},
    [SECOND] = {"second", "Second layer", "pool2"},
};

typedef struct layer_figures {
    int64_t shape[5];
    code_figures codes[CODES];
    double orbit_distance[QUERY_SETS];
} layer_figures;

typedef struct probe_figures {
    double orientation, knowing[QUERY_SETS];
} probe_figures;

typedef struct figures {
    double train_seconds, seconds, accuracy[QUERY_SETS], equivariance_error;
    double extract_rate;
    int64_t parameters;
    layer_figures layers[LAYERS];
    double by_count[COUNT(template_counts)][COUNT(varied)][QUERY_SETS];
    probe_figures probes[COUNT(probed)];
} figures;

/* ---- measuring ------------------------------------------------------------------------------ */

static equinv_status measure_one(const place *p, const code_desc *desc, const experiment *e,
                                 const digit_sets *latents, code_figures *f)
{
    coder c = {0};
    equinv_status status =
        coder_create(p, desc, equinv_cyclic(TURNS), &latents->gallery, e->seed, NULL, &c);
    if (!status)
        status = measure_code(&c, latents, f);
    coder_destroy(&c);
    return status;
}

static equinv_status measure_layer(const place *p, const experiment *e, layer at,
                                   const digit_sets *latents, layer_figures *f)
{
    equinv_status status = EQUINV_OK;
    memcpy(f->shape, latents->gallery.shape, sizeof f->shape);
    const int count = at == LAST ? CODES : (int)COUNT(everywhere);
    for (int i = 0; i < count; i++) {
        const int c = at == LAST ? i : everywhere[i];
        TRY(measure_one(p, &codes[c], e, latents, &f->codes[c]));
    }
    TRY(measure_orbit_distance(p->cpu, equinv_cyclic(TURNS), latents, f->orbit_distance));
done:
    return status;
}

static equinv_status vary_count(const place *p, const experiment *e, const digit_sets *latents,
                                figures *f)
{
    equinv_status status = EQUINV_OK;
    for (size_t k = 0; k < COUNT(template_counts); k++)
        for (size_t v = 0; v < COUNT(varied); v++) {
            code_desc desc = codes[varied[v]];
            code_figures one;
            desc.k = template_counts[k];
            TRY(measure_one(p, &desc, e, latents, &one));
            memcpy(f->by_count[k][v], one.knn, sizeof one.knn);
        }
done:
    return status;
}

/* A layer's mean over space: no pixels left, the group still there. */
static equinv_status measure_space_mean(const place *p, const experiment *e,
                                        const digit_sets *latents, layer_figures *f)
{
    static const code_desc mean = {"space_mean", "mean over space", CODE_POOL,
                                   .pool = EQUINV_POOL_GLOBAL_AVERAGE};
    digit_sets pooled = {0};
    coder c = {0};
    equinv_status status;
    TRY(coder_create(p, &mean, equinv_cyclic(TURNS), &latents->gallery, e->seed, NULL, &c));
    TRY(map_sets(encode, &c, latents, &pooled));
    TRY(measure_layer(p, e, LAST_MEAN, &pooled, f));
done:
    coder_destroy(&c);
    sets_free(p->cpu, &pooled);
    return status;
}

/* ---- orientation ---------------------------------------------------------------------------- */

/* Training digits in random turns, their latents, and the turns of both sets. */
typedef struct turned_digits {
    equinv_tensor images, latents, turns, query_turns;
} turned_digits;

static equinv_status note_turns(equinv_context *cpu, uint64_t seed, random_stream stream,
                                int64_t count, equinv_tensor *turns)
{
    const equinv_status status = equinv_tensor_create(cpu, EQUINV_I32, 1, &count, turns);
    for (int64_t n = 0; !status && n < count; n++)
        ((int32_t *)turns->data)[n] = random_turn_of(seed, stream, 0, n).quarters;
    return status;
}

static equinv_status turn_training_digits(const extraction *network, const experiment *e,
                                          const digit_sets *images, turned_digits *t)
{
    equinv_context *const cpu = network->place->cpu;
    const equinv_tensor *const upright = &images->gallery;
    const int64_t count = upright->shape[0];
    equinv_status status;
    TRY(note_turns(cpu, e->seed, STREAM_ORIENTATION, count, &t->turns));
    TRY(note_turns(cpu, e->seed, STREAM_QUERIES, images->queries[0].shape[0], &t->query_turns));
    TRY(equinv_tensor_create(cpu, EQUINV_U8, 3, upright->shape, &t->images));
    for (int64_t n = 0; n < count; n++) {
        equinv_tensor from, to;
        TRY(equinv_tensor_rows(upright, n, 1, &from));
        TRY(equinv_tensor_rows(&t->images, n, 1, &to));
        TRY(turn_images(cpu, ((const int32_t *)t->turns.data)[n], &from, &to));
    }
    TRY(extract(network, &t->images, &t->latents));
done:
    return status;
}

static void turned_digits_free(equinv_context *cpu, turned_digits *t)
{
    equinv_tensor_destroy(cpu, &t->images);
    equinv_tensor_destroy(cpu, &t->latents);
    equinv_tensor_destroy(cpu, &t->turns);
    equinv_tensor_destroy(cpu, &t->query_turns);
}

/* Linear classifiers of one code: of the class, seen upright alone, and of the orientation. */
static equinv_status probe_code(const coder *c, const digit_sets *latents, const turned_digits *t,
                                probe_figures *f)
{
    equinv_context *const cpu = c->place->cpu;
    digit_sets read = {0};
    equinv_tensor turned = {0};
    equinv_status status;
    TRY(map_sets(encode, c, latents, &read));
    TRY(encode(c, &t->latents, &turned));
    probe_set tests[QUERY_SETS];
    for (query_set q = UPRIGHT; q < QUERY_SETS; q++)
        tests[q] = (probe_set){&read.queries[q], read.query_labels};
    TRY(linear_probe(cpu, (probe_set){&read.gallery, read.gallery_labels}, tests, QUERY_SETS,
                     c->seed, f->knowing));
    TRY(linear_probe(cpu, (probe_set){&turned, &t->turns},
                     &(probe_set){&read.queries[QUARTER_TURNS], &t->query_turns}, 1, c->seed,
                     &f->orientation));
done:
    equinv_tensor_destroy(cpu, &turned);
    sets_free(cpu, &read);
    return status;
}

static equinv_status probe_codes(const extraction *network, const experiment *e,
                                 const digit_sets *images, const digit_sets *latents, figures *f)
{
    turned_digits t = {0};
    equinv_status status;
    TRY(turn_training_digits(network, e, images, &t));
    for (size_t i = 0; i < COUNT(probed); i++) {
        coder c = {0};
        status = coder_create(network->place, &codes[probed[i]], equinv_cyclic(TURNS),
                              &latents->gallery, e->seed, NULL, &c);
        if (!status)
            status = probe_code(&c, latents, &t, &f->probes[i]);
        coder_destroy(&c);
        if (status)
            break;
    }
done:
    turned_digits_free(network->place->cpu, &t);
    return status;
}

/* ---- the pictures --------------------------------------------------------------------------- */

static equinv_status draw(const extraction *network, const experiment *e, const digits *d,
                          const digit_sets *latents)
{
    static const char *const titles[PLANES] = {"raw latents", "after the linear projection"};
    static code_planes planes;
    coder c = {0};
    equinv_status status;
    TRY(coder_create(network->place, &codes[LINEAR], equinv_cyclic(TURNS), &latents->gallery,
                     e->seed, NULL, &c));
    TRY(find_planes(network, &c, d, &planes));
    draw_planes(&planes, 0, 1, titles, "", e->folder, "digits-raw");
    draw_planes(&planes, 1, 2, titles, "", e->folder, "digits-linear");
done:
    coder_destroy(&c);
    return status;
}

/* ---- the report ----------------------------------------------------------------------------- */

static void write_layer(json *j, layer at, const layer_figures *f)
{
    char title[128];
    code_figures quotient = {
        &orbit_distance, 0, {0}, {(double)NAN, (double)NAN, (double)NAN, (double)NAN}};
    memcpy(quotient.knn, f->orbit_distance, sizeof quotient.knn);
    snprintf(title, sizeof title, "%s, %d x %d x %d x %d", layers[at].title, (int)f->shape[1],
             (int)f->shape[2], (int)f->shape[3], (int)f->shape[4]);
    json_open(j, NULL, '{');
    json_text(j, "name", layers[at].name);
    json_text(j, "title", title);
    json_open(j, "codes", '[');
    for (int c = 0; c < CODES; c++)
        if (f->codes[c].desc) /* measured */
            json_code(j, &f->codes[c]);
    json_code(j, &quotient);
    json_close(j);
    json_close(j);
}

static void write_counts(json *j, const figures *f)
{
    char key[64];
    json_open(j, "templates", '[');
    for (size_t k = 0; k < COUNT(template_counts); k++) {
        json_open(j, NULL, '{');
        json_integer(j, "k", template_counts[k]);
        for (size_t v = 0; v < COUNT(varied); v++)
            for (query_set q = UPRIGHT; q < QUERY_SETS; q++) {
                snprintf(key, sizeof key, "%s_%s", codes[varied[v]].name, query_names[q]);
                json_number(j, key, f->by_count[k][v][q]);
            }
        json_close(j);
    }
    json_close(j);
}

static void write_probes(json *j, const figures *f)
{
    json_open(j, "probes", '[');
    for (size_t i = 0; i < COUNT(probed); i++) {
        json_open(j, NULL, '{');
        json_text(j, "name", codes[probed[i]].name);
        json_text(j, "title", codes[probed[i]].title);
        json_number(j, "orientation", f->probes[i].orientation);
        for (query_set q = UPRIGHT; q < QUERY_SETS; q++)
            json_number(j, query_names[q], f->probes[i].knowing[q]);
        json_close(j);
    }
    json_close(j);
}

/* What a program would ask for first, without a walk through the tables. */
static void write_main_figures(json *j, const figures *f)
{
    static const int chosen[] = {RAW, GROUP_MAX, LINEAR, MAX, SORTED};
    const layer_figures *const last = &f->layers[LAST];
    char key[64];
    json_number(j, "train_seconds", f->train_seconds);
    json_integer(j, "parameters", f->parameters);
    json_number(j, "test_accuracy", f->accuracy[UPRIGHT]);
    json_number(j, "test_accuracy_90", f->accuracy[QUARTER_TURNS]);
    json_number(j, "test_accuracy_any", f->accuracy[ANY_ANGLE]);
    json_number(j, "equivariance_error", f->equivariance_error);
    json_number(j, "invariance_error", last->codes[LINEAR].orbit.invariance_error);
    for (size_t i = 0; i < COUNT(chosen); i++)
        for (query_set q = UPRIGHT; q < QUERY_SETS; q++) {
            snprintf(key, sizeof key, "knn_%s_%s", codes[chosen[i]].name, query_names[q]);
            json_number(j, key, last->codes[chosen[i]].knn[q]);
        }
    json_number(j, "knn_orbit_distance_90", last->orbit_distance[QUARTER_TURNS]);
    json_number(j, "knn_orbit_distance_any", last->orbit_distance[ANY_ANGLE]);
    for (size_t i = 0; i < COUNT(probed); i++) {
        snprintf(key, sizeof key, "orientation_%s", codes[probed[i]].name);
        json_number(j, key, f->probes[i].orientation);
        snprintf(key, sizeof key, "probe_%s_90", codes[probed[i]].name);
        json_number(j, key, f->probes[i].knowing[QUARTER_TURNS]);
    }
    json_number(j, "extract_images_per_s", f->extract_rate);
}

static bool write_report(const experiment *e, const digits *d, const place *p, const figures *f)
{
    report_file file;
    if (!report_begin(&file, e->folder, REPORT_FILE))
        return false;
    json *const j = &file.json;
    report_run(j, e, d, p, f->seconds);
    write_main_figures(j, f);
    json_open(j, "layers", '[');
    for (layer at = LAST; at < LAYERS; at++)
        write_layer(j, at, &f->layers[at]);
    json_close(j);
    write_counts(j, f);
    write_probes(j, f);
    return report_end(&file);
}

static void print_layer(layer at, const layer_figures *f)
{
    printf("\n%s, %d x %d x %d x %d\n", layers[at].title, (int)f->shape[1], (int)f->shape[2],
           (int)f->shape[3], (int)f->shape[4]);
    printf("%-30s %8s %8s %8s %18s %16s\n", "code", "upright", "quarter", "any", "invariance error",
           "within / between");
    for (int c = 0; c < CODES; c++)
        if (f->codes[c].desc)
            printf("%-30s %8.3f %8.3f %8.3f %18.1e %16.2g\n", codes[c].title,
                   f->codes[c].knn[UPRIGHT], f->codes[c].knn[QUARTER_TURNS],
                   f->codes[c].knn[ANY_ANGLE], f->codes[c].orbit.invariance_error,
                   f->codes[c].orbit.within / f->codes[c].orbit.between);
    printf("%-30s %8.3f %8.3f %8.3f\n", orbit_distance.title, f->orbit_distance[UPRIGHT],
           f->orbit_distance[QUARTER_TURNS], f->orbit_distance[ANY_ANGLE]);
}

static void print_figures(const figures *f)
{
    printf("\nC4 network, %lld parameters, trained in %.1f s: accuracy %.3f upright, %.3f quarter "
           "turns, %.3f any angle; equivariance error %.1e\n",
           (long long)f->parameters, f->train_seconds, f->accuracy[UPRIGHT],
           f->accuracy[QUARTER_TURNS], f->accuracy[ANY_ANGLE], f->equivariance_error);
    for (layer at = LAST; at < LAYERS; at++)
        print_layer(at, &f->layers[at]);
    printf("\nquarter turns by number of templates\n%-8s", "k");
    for (size_t v = 0; v < COUNT(varied); v++)
        printf(" %8s", codes[varied[v]].title);
    for (size_t k = 0; k < COUNT(template_counts); k++) {
        printf("\n%-8d", (int)template_counts[k]);
        for (size_t v = 0; v < COUNT(varied); v++)
            printf(" %8.3f", f->by_count[k][v][QUARTER_TURNS]);
    }
    printf("\n\nlinear probes%17s %12s %8s %8s\n", "", "orientation", "upright", "quarter");
    for (size_t i = 0; i < COUNT(probed); i++)
        printf("%-30s %12.3f %8.3f %8.3f\n", codes[probed[i]].title, f->probes[i].orientation,
               f->probes[i].knowing[UPRIGHT], f->probes[i].knowing[QUARTER_TURNS]);
}

/* ---- the program ---------------------------------------------------------------------------- */

/* A layer's latents and all that is measured on them; at the last layer everything. */
static equinv_status run_layer(const extraction *here, const experiment *e, layer at,
                               const digits *d, const digit_sets *images, figures *f)
{
    const place *const p = here->place;
    const double start = seconds_now();
    digit_sets latents = {0};
    equinv_status status;
    TRY(map_sets(extract, here, images, &latents));
    f->extract_rate = (double)sets_count(images) / (seconds_now() - start);
    TRY(measure_layer(p, e, at, &latents, &f->layers[at]));
    if (at == LAST) {
        TRY(equivariance_error(p->cpu, &latents, &f->equivariance_error));
        TRY(measure_space_mean(p, e, &latents, &f->layers[LAST_MEAN]));
        TRY(vary_count(p, e, &latents, f));
        TRY(probe_codes(here, e, images, &latents, f));
        TRY(draw(here, e, d, &latents));
    }
done:
    sets_free(p->cpu, &latents);
    return status;
}

static equinv_status run(const place *p, const experiment *e, bool *written)
{
    static figures f;
    const double start = seconds_now();
    const training how = c4_network(e->epochs);
    equinv_model *model = NULL;
    digits d = {0};
    digit_sets images = {0};
    equinv_status status;
    TRY(digits_load(p->cpu, e->data, e->train, e->test, &d));
    TRY(make_sets(p->cpu, &d, e->seed, &images));
    TRY(train_network(p, e, &d, &how, &model, &f.train_seconds));
    f.parameters = parameter_count(model);
    TRY(network_accuracy(p, model, &images, f.accuracy));
    for (layer at = LAST; at < LAYERS; at++) {
        const extraction here = {p, model, layers[at].layer};
        if (here.layer) /* else it is made from another */
            TRY(run_layer(&here, e, at, &d, &images, &f));
    }
    f.seconds = seconds_now() - start;
    print_figures(&f);
    *written = write_report(e, &d, p, &f);
done:
    equinv_model_destroy(model);
    sets_free(p->cpu, &images);
    digits_free(p->cpu, &d);
    return status;
}

int main(int argc, char **argv)
{
    experiment e = experiment_default(EPOCHS);
    return experiment_main(&e, run,
                           "Latent codes of an equivariant classifier of digits, raw and through "
                           "every kind of projection.",
                           argc, argv);
}
