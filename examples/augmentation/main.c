/*
 * An ordinary network that learned to ignore turns by augmentation: its answers hardly depend on how a
 * digit lies, its latent codes do. The group acts on its input, so the orbit of a code is what the network
 * makes of the turned inputs; means, maxima and sorted templates over it are codes of the digit alone.
 *
 *     build/bin/equinv-augmentation [--seed N] [--output FOLDER] [--device cuda]
 *
 * Three networks (C1, four convolutions), trained on upright digits, on digits in quarter turns and on
 * digits in any turn. Writes FOLDER/augmentation.json.
 */
#include <math.h>
#include <stdlib.h>
#include <string.h>

#include "examples/common/experiment.h"
#include "tools/mirror.h"

/*
 * Settings chosen on training digits alone (the last 1,000 of them held out). A batch has all four turns of a
 * digit: with turns drawn one by one, as many steps ended at fewer answers alike.
 */
enum { EPOCHS = 8, K = 64, FINE_TURNS = 8 };
#define REPORT_FILE "augmentation.json"

const char program_name[] = "equinv-augmentation";

/* ---- codes ---------------------------------------------------------------------------------- */

/* Of the latents of the input as it lies, and of the latents of its turns. */
enum { RAW, UNFOLDED, PLAIN_CODES };
enum { MEAN = PLAIN_CODES, MAX, SORTED, FINE_MEAN, CODES };
static const code_desc codes[CODES] = {
    [RAW] = {"raw", "raw latent", .kind = CODE_RAW},
    [UNFOLDED] = {"gaussian", "64 Gaussian templates of it", .kind = CODE_UNFOLDED, .k = K,
                  .templates = EQUINV_TEMPLATE_GAUSSIAN},
    [MEAN] = {"mean", "mean over 4 turned inputs", .kind = CODE_POOL,
              .pool = EQUINV_POOL_GROUP_MEAN},
    [MAX] = {"max", "maximum over 4 turned inputs", .kind = CODE_POOL,
             .pool = EQUINV_POOL_GROUP_MAX},
    [SORTED] = {"sorted", "64 templates sorted over 4", .kind = CODE_PROJECT,
                .projection = EQUINV_PROJECT_SORTED, .k = K},
    [FINE_MEAN] = {"mean8", "mean over 8 turned inputs", .kind = CODE_POOL,
                   .pool = EQUINV_POOL_GROUP_MEAN},
};

/* ---- networks ------------------------------------------------------------------------------- */

typedef enum seen_turns { NO_TURNS, SEEN_QUARTERS, SEEN_ANGLES, NETWORKS } seen_turns;
static const struct {
    const char *name, *title;
    int64_t copies; /* of a digit in a batch, a quarter turn apart */
} networks[NETWORKS] = {
    [NO_TURNS] = {"none", "upright digits", 1},
    [SEEN_QUARTERS] = {"quarter", "quarter turns", TURNS},
    [SEEN_ANGLES] = {"any", "any angle", TURNS},
};

typedef struct network_figures {
    double seconds, accuracy[QUERY_SETS], agreement;
    int64_t parameters;
    code_figures codes[CODES];
} network_figures;

/* How training images are turned. */
typedef struct turner {
    equinv_context *cpu;
    seen_turns seen;
    uint64_t seed;
    int64_t size;
    uint8_t *turned; /* room for an image */
} turner;

static equinv_status turn_for_training(void *user, int64_t epoch, int64_t image, int64_t copy,
                                       uint8_t *pixels)
{
    const turner *const t = user;
    const double quarter = 1.57079632679489661923;
    equinv_tensor from, to;
    equinv_status status = EQUINV_OK;
    if (t->seen == SEEN_ANGLES) {
        const double angle = random_turn_of(t->seed, STREAM_TRAINING, epoch, image).angle;
        rotate_image(pixels, t->size, angle + quarter * (double)copy, t->turned);
    } else {
        const int64_t shape[3] = {1, t->size, t->size};
        TRY(equinv_tensor_init(pixels, EQUINV_U8, 3, shape, &from));
        TRY(equinv_tensor_init(t->turned, EQUINV_U8, 3, shape, &to));
        TRY(turn_images(t->cpu, (int32_t)copy, &from, &to));
    }
    memcpy(pixels, t->turned, (size_t)(t->size * t->size));
done:
    return status;
}

static equinv_status train_one(const place *p, const experiment *e, const digits *d,
                               seen_turns seen, equinv_model **model, double *seconds)
{
    turner t = {p->cpu, seen, e->seed, d->train.images.shape[1], NULL};
    const training how = {
        .group = equinv_cyclic(1), /* every field is one channel: an ordinary network */
        .fields = {16, 32, 32, 32},
        .epochs = e->epochs,
        .batch = 32,
        .copies = networks[seen].copies,
        .learning_rate = 1e-2,
        .weight_decay = 3e-4,
        .augment = seen == NO_TURNS ? NULL : turn_for_training,
        .user = &t,
    };
    t.turned = malloc((size_t)(t.size * t.size));
    if (!t.turned)
        return EQUINV_ERR_NOMEM;
    const equinv_status status = train_network(p, e, d, &how, model, seconds);
    free(t.turned);
    return status;
}

/* ---- the orbit in input space --------------------------------------------------------------- */

/* Turned inputs by elements of C_n, and what a layer makes of them. */
typedef struct orbit {
    extraction extraction;
    int32_t turns; /* n: 4 or 8 */
} orbit;

/* Images turned by 2 pi g / n; half quarter turns are interpolated, quarter turns are exact. */
static equinv_status turn_by(const orbit *o, int32_t g, const equinv_tensor *images,
                             const equinv_tensor *room, const equinv_tensor *turned)
{
    const int32_t parts = o->turns / TURNS;
    const int64_t size = images->shape[1];
    if (g % parts == 0)
        return turn_images(o->extraction.place->cpu, g / parts, images, turned);
    const double angle = 6.28318530717958647693 * (g % parts) / o->turns;
    for (int64_t n = 0; n < images->shape[0]; n++)
        rotate_image((const uint8_t *)images->data + n * size * size, size, angle,
                     (uint8_t *)room->data + n * size * size);
    return turn_images(o->extraction.place->cpu, g / parts, room, turned);
}

/*
 * A set_map: latents [N, D, n, 1, 1] whose element g comes from the input turned by g. Turning the
 * input permutes the elements, so that this is a field of regular representations of C_n.
 */
static equinv_status extract_orbit(const void *how, const equinv_tensor *images,
                                   equinv_tensor *latents)
{
    const orbit *const o = how;
    equinv_context *const cpu = o->extraction.place->cpu;
    const int64_t count = images->shape[0];
    equinv_tensor room = {0}, turned = {0}, one = {0};
    equinv_status status;
    TRY(equinv_tensor_create(cpu, EQUINV_U8, 3, images->shape, &room));
    TRY(equinv_tensor_create(cpu, EQUINV_U8, 3, images->shape, &turned));
    for (int32_t g = 0; g < o->turns; g++) {
        TRY(turn_by(o, g, images, &room, &turned));
        TRY(extract(&o->extraction, &turned, &one));
        const int64_t width = equinv_tensor_count(&one) / count;
        if (g == 0)
            TRY(equinv_tensor_create(cpu, EQUINV_F32, 5, (int64_t[]){count, width, o->turns, 1, 1},
                                     latents));
        for (int64_t i = 0; i < count * width; i++)
            ((float *)latents->data)[i * o->turns + g] = ((const float *)one.data)[i];
        equinv_tensor_destroy(cpu, &one);
    }
done:
    equinv_tensor_destroy(cpu, &one);
    equinv_tensor_destroy(cpu, &turned);
    equinv_tensor_destroy(cpu, &room);
    return status;
}

/*
 * Templates [K, D, n, 1, 1] that look at one turned input each: Gaussian at e, 0 at the others, so that
 * <w, g z> is <w, f(g^-1 x)>.
 */
static equinv_status templates_of_inputs(const place *p, const equinv_tensor *latents,
                                         uint64_t seed, mirror *templates)
{
    const int64_t width = latents->shape[1], turns = latents->shape[2];
    equinv_tensor plain = {0};
    equinv_status status;
    TRY(mirror_create(p->net, EQUINV_F32, 5, (int64_t[]){K, width, turns, 1, 1}, templates));
    TRY(equinv_tensor_create(p->cpu, EQUINV_F32, 2, (int64_t[]){K, width}, &plain));
    TRY(equinv_templates(p->cpu, EQUINV_TEMPLATE_GAUSSIAN, seed, 0, &plain));
    for (int64_t i = 0; i < K * width; i++)
        ((float *)templates->here.data)[i * turns] = ((const float *)plain.data)[i];
    equinv_tensor there;
    TRY(mirror_send(p->net, templates, K, &there));
    TRY(equinv_context_synchronize(p->net));
done:
    equinv_tensor_destroy(p->cpu, &plain);
    return status;
}

/* ---- measuring ------------------------------------------------------------------------------ */

static equinv_status measure_codes(const place *p, const experiment *e, int first, int end,
                                   equinv_group group, const equinv_tensor *user,
                                   const digit_sets *latents, network_figures *f)
{
    equinv_status status = EQUINV_OK;
    for (int c = first; !status && c < end; c++) {
        coder one = {0};
        status = coder_create(p, &codes[c], group, &latents->gallery, e->seed,
                              c == SORTED ? user : NULL, &one);
        if (!status)
            status = measure_code(&one, latents, &f->codes[c]);
        coder_destroy(&one);
    }
    return status;
}

/* Codes first .. end - 1 of the orbit under C_turns in input space. */
static equinv_status measure_orbit_codes(const place *p, const experiment *e, const orbit *o,
                                         const digit_sets *images, int first, int end,
                                         network_figures *f)
{
    digit_sets latents = {0};
    mirror templates = {0};
    equinv_status status;
    TRY(map_sets(extract_orbit, o, images, &latents));
    TRY(templates_of_inputs(p, &latents.gallery, e->seed, &templates));
    TRY(measure_codes(p, e, first, end, equinv_cyclic(o->turns), &templates.there, &latents, f));
done:
    mirror_destroy(p->net, &templates);
    sets_free(p->cpu, &latents);
    return status;
}

/* Share of digits that the network names alike in all four turns. */
static equinv_status measure_agreement(const place *p, equinv_model *model,
                                       const digit_sets *images, double *agreement)
{
    const int64_t count = images->turned[0].shape[0];
    int32_t *const answers = calloc((size_t)(count * TURNS), sizeof *answers);
    int64_t agree = 0;
    equinv_status status = EQUINV_ERR_NOMEM;
    if (!answers)
        return status;
    for (int g = 0; g < TURNS; g++)
        TRY(digits_predict(p->net, model, &images->turned[g], NULL, answers + g * count));
    for (int64_t n = 0; n < count; n++) {
        bool same = true;
        for (int g = 1; g < TURNS; g++)
            same = same && answers[g * count + n] == answers[n];
        agree += same;
    }
    *agreement = (double)agree / (double)count;
done:
    free(answers);
    return status;
}

static equinv_status run_network(const place *p, const experiment *e, const digits *d,
                                 const digit_sets *images, seen_turns seen, network_figures *f)
{
    orbit o = {{p, NULL, DIGITS_CODE_LAYER}, TURNS};
    digit_sets latents = {0};
    equinv_status status;
    TRY(train_one(p, e, d, seen, &o.extraction.model, &f->seconds));
    f->parameters = parameter_count(o.extraction.model);
    TRY(network_accuracy(p, o.extraction.model, images, f->accuracy));
    TRY(measure_agreement(p, o.extraction.model, images, &f->agreement));
    TRY(map_sets(extract, &o.extraction, images, &latents));
    TRY(measure_codes(p, e, RAW, PLAIN_CODES, equinv_cyclic(1), NULL, &latents, f));
    TRY(measure_orbit_codes(p, e, &o, images, MEAN, FINE_MEAN, f));
    if (seen == SEEN_ANGLES) {
        o.turns = FINE_TURNS;
        TRY(measure_orbit_codes(p, e, &o, images, FINE_MEAN, CODES, f));
    }
done:
    sets_free(p->cpu, &latents);
    equinv_model_destroy(o.extraction.model);
    return status;
}

/* ---- the report ----------------------------------------------------------------------------- */

static void write_network(json *j, seen_turns n, int64_t epochs, const network_figures *f)
{
    json_open(j, NULL, '{');
    json_text(j, "name", networks[n].name);
    json_text(j, "title", networks[n].title);
    json_integer(j, "parameters", f->parameters);
    json_integer(j, "epochs", epochs);
    json_integer(j, "copies", networks[n].copies);
    json_number(j, "train_seconds", f->seconds);
    json_number(j, "accuracy_upright", f->accuracy[UPRIGHT]);
    json_number(j, "accuracy_90", f->accuracy[QUARTER_TURNS]);
    json_number(j, "accuracy_any", f->accuracy[ANY_ANGLE]);
    json_number(j, "agreement_90", f->agreement);
    json_open(j, "codes", '[');
    for (int c = 0; c < CODES; c++)
        if (f->codes[c].desc) /* measured */
            json_code(j, &f->codes[c]);
    json_close(j);
    json_close(j);
}

static bool write_report(const experiment *e, const digits *d, const place *p, double seconds,
                         const network_figures figures[NETWORKS])
{
    const network_figures *const f = &figures[SEEN_QUARTERS];
    report_file file;
    if (!report_begin(&file, e->folder, REPORT_FILE))
        return false;
    json *const j = &file.json;
    report_run(j, e, d, p, seconds);
    json_number(j, "accuracy_upright", f->accuracy[UPRIGHT]);
    json_number(j, "accuracy_90", f->accuracy[QUARTER_TURNS]);
    json_number(j, "agreement_90", f->agreement);
    json_number(j, "knn_raw_upright", f->codes[RAW].knn[UPRIGHT]);
    json_number(j, "knn_raw_90", f->codes[RAW].knn[QUARTER_TURNS]);
    json_number(j, "knn_mean_90", f->codes[MEAN].knn[QUARTER_TURNS]);
    json_number(j, "own_raw", f->codes[RAW].orbit.own);
    json_number(j, "own_mean", f->codes[MEAN].orbit.own);
    json_number(j, "spread_raw", f->codes[RAW].orbit.within / f->codes[RAW].orbit.between);
    json_number(j, "spread_mean", f->codes[MEAN].orbit.within / f->codes[MEAN].orbit.between);
    json_open(j, "networks", '[');
    for (seen_turns n = NO_TURNS; n < NETWORKS; n++)
        write_network(j, n, e->epochs, &figures[n]);
    json_close(j);
    return report_end(&file);
}

static void print_network(seen_turns n, const network_figures *f)
{
    printf("\ntrained on %s: accuracy %.3f upright, %.3f quarter turns, %.3f any angle; "
           "one answer for all four turns %.3f\n",
           networks[n].title, f->accuracy[UPRIGHT], f->accuracy[QUARTER_TURNS],
           f->accuracy[ANY_ANGLE], f->agreement);
    printf("%-30s %8s %8s %8s %16s %10s\n", "code", "upright", "quarter", "any", "within / between",
           "own copy");
    for (int c = 0; c < CODES; c++)
        if (f->codes[c].desc)
            printf("%-30s %8.3f %8.3f %8.3f %16.2g %10.3f\n", codes[c].title,
                   f->codes[c].knn[UPRIGHT], f->codes[c].knn[QUARTER_TURNS],
                   f->codes[c].knn[ANY_ANGLE], f->codes[c].orbit.within / f->codes[c].orbit.between,
                   f->codes[c].orbit.own);
}

static equinv_status run(const place *p, const experiment *e, bool *written)
{
    static network_figures figures[NETWORKS];
    const double start = seconds_now();
    digits d = {0};
    digit_sets images = {0};
    equinv_status status;
    TRY(digits_load(p->cpu, e->data, e->train, e->test, &d));
    TRY(make_sets(p->cpu, &d, e->seed, &images));
    for (seen_turns n = NO_TURNS; n < NETWORKS; n++) {
        TRY(run_network(p, e, &d, &images, n, &figures[n]));
        print_network(n, &figures[n]);
    }
    *written = write_report(e, &d, p, seconds_now() - start, figures);
done:
    sets_free(p->cpu, &images);
    digits_free(p->cpu, &d);
    return status;
}

int main(int argc, char **argv)
{
    experiment e = experiment_default(EPOCHS);
    return experiment_main(&e, run,
                           "An ordinary network trained with augmentation: invariant answers, "
                           "codes that are not, and what repairs them.",
                           argc, argv);
}
