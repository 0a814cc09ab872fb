/*
 * Trains a small C4-equivariant network on upright digits, then looks for a digit's nearest neighbours
 * among the codes of the training digits when the digit is upright, turned by quarter turns, or turned
 * by any angle: with the raw codes and through invariant projections.
 *
 * Run as `make demo`; needs no arguments. Environment: EQUINV_DATA (a folder that holds mnist/ with
 * the four files), DEMO_FULL=1 (all digits instead of the first 5,000 and 1,000), DEMO_SEED (default 1).
 */
#include <math.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>
#include <unistd.h>

#include "demo.h"
#include "tools/digits.h"

/* Settings, chosen on training digits alone (the last 1,000 of them held out). */
enum { EPOCHS = 10, BATCH = 32, K = 64, NEIGHBOURS = 5, TURNS = 4, PICTURE_DIGITS = 60 };
static const int64_t fields[4] = {8, 16, 16, 16};
static const double learning_rate = 1e-2;
static const int32_t picture_pair[2] = {4, 7};

#define OUTPUT_FOLDER "build/demo"
#define PICTURE_FILE OUTPUT_FOLDER "/codes.png"

typedef struct results {
    const char *data;
    char folder[4096];
    double seconds, train_seconds, test_accuracy;
    double knn[CODE_KINDS][QUERY_SETS], invariance_error[CODE_KINDS], equivariance_error;
    double extract_rate, project_rate;
    int64_t train_images, test_images;
    bool picture;
    uint64_t seed;
} results;

#define TRY(call)                                                                                  \
    do {                                                                                           \
        status = (call);                                                                           \
        if (status)                                                                                \
            goto done;                                                                             \
    } while (0)

static double now(void)
{
    struct timespec t;
    clock_gettime(CLOCK_MONOTONIC, &t);
    return (double)t.tv_sec + 1e-9 * (double)t.tv_nsec;
}

/* Where the digits are: $EQUINV_DATA, a folder beside the repository, else what it contains. */
static bool choose_data(results *r)
{
    const char *const wanted = getenv("EQUINV_DATA");
    if (wanted && *wanted) {
        snprintf(r->folder, sizeof r->folder, "%s/mnist", wanted);
        r->data = "EQUINV_DATA";
        if (!digits_present(r->folder))
            fprintf(stderr,
                    "demo: EQUINV_DATA is \"%s\", expected a folder that holds mnist/ with "
                    "the four files of MNIST (.gz or plain)\n",
                    wanted);
        return digits_present(r->folder);
    }
    static const struct {
        const char *folder, *name;
    } places[] = {{"../shared/data/mnist", "shared"}, {"examples/data", "embedded"}};
    for (size_t i = 0; i < sizeof places / sizeof *places; i++) {
        snprintf(r->folder, sizeof r->folder, "%s", places[i].folder);
        r->data = places[i].name;
        if (digits_present(r->folder))
            return true;
    }
    fprintf(stderr, "demo: no digits in %s, run it from the repository's root\n", r->folder);
    return false;
}

static int show_progress(void *user, int64_t done, int64_t total)
{
    const double *const start = user;
    const double elapsed = now() - *start, share = (double)done / (double)total;
    if (isatty(STDERR_FILENO) && done > 0)
        fprintf(stderr, "\rtraining: %3.0f %%, %.0f images/s, %.0f s left ", 100 * share,
                (double)done / elapsed, elapsed / share - elapsed);
    return 0;
}

static void show_epoch(void *user, int64_t epoch, double loss)
{
    (void)user;
    if (isatty(STDERR_FILENO))
        fprintf(stderr, "\rtraining: epoch %d of %d, loss %.4f                    \n",
                (int)epoch + 1, EPOCHS, loss);
}

static equinv_status extract(equinv_context *ctx, equinv_model *model, const equinv_tensor *images,
                             equinv_tensor *latents)
{
    int64_t shape[5];
    equinv_extract_desc d = EQUINV_EXTRACT_DESC_INIT;
    d.layer = DIGITS_CODE_LAYER;
    equinv_status status = equinv_model_layer_shape(model, d.layer, shape);
    shape[0] = images->shape[0];
    if (!status)
        status = equinv_tensor_create(ctx, EQUINV_F32, 5, shape, latents);
    return status ? status : equinv_extract(model, &d, images, NULL, latents);
}

/* max over rows of |a - b|_max / |b|_max: each row against its own size. */
static double largest_row_error(const equinv_tensor *a, const equinv_tensor *b)
{
    double worst = 0;
    const int64_t rows = a->shape[0], width = rows ? equinv_tensor_count(a) / rows : 0;
    const float *const x = a->data, *const y = b->data;
    for (int64_t n = 0; n < rows; n++) {
        double difference = 0, size = 0;
        for (int64_t i = n * width; i < (n + 1) * width; i++) {
            difference = fmax(difference, fabs((double)x[i] - (double)y[i]));
            size = fmax(size, fabs((double)y[i]));
        }
        worst = fmax(worst, size > 0 ? difference / size : difference > 0 ? (double)INFINITY : 0);
    }
    return worst;
}

/* |f(g x) - g f(x)| for the latents and |p(f(g x)) - p(f(x))| for each code, f computed again. */
static equinv_status measure_symmetry(equinv_context *ctx, equinv_model *model,
                                      const equinv_tensor *images, const equinv_tensor *latents,
                                      const coder *coders, results *r)
{
    equinv_status status = EQUINV_OK;
    const equinv_group group = equinv_cyclic(TURNS);
    equinv_tensor turned = {0}, moved = {0}, again = {0};
    TRY(equinv_tensor_create(ctx, EQUINV_U8, 3, images->shape, &turned));
    TRY(equinv_tensor_create(ctx, EQUINV_F32, 5, latents->shape, &moved));
    for (int32_t g = 1; g < TURNS; g++) {
        TRY(turn_images(ctx, group, g, images, &turned));
        TRY(extract(ctx, model, &turned, &again));
        TRY(equinv_act(ctx, group, g, latents, &moved));
        r->equivariance_error = fmax(r->equivariance_error, largest_row_error(&again, &moved));
        for (code_kind c = RAW; c < CODE_KINDS; c++) {
            equinv_tensor before = {0}, after = {0};
            bool owned = false;
            status = coder_encode(&coders[c], latents, &before, &owned);
            if (!status)
                status = coder_encode(&coders[c], &again, &after, &owned);
            if (!status)
                r->invariance_error[c] =
                    fmax(r->invariance_error[c], largest_row_error(&after, &before));
            if (owned) {
                equinv_tensor_destroy(ctx, &before);
                equinv_tensor_destroy(ctx, &after);
            }
            if (status)
                goto done;
        }
        equinv_tensor_destroy(ctx, &again);
    }
done:
    equinv_tensor_destroy(ctx, &turned);
    equinv_tensor_destroy(ctx, &moved);
    equinv_tensor_destroy(ctx, &again);
    return status;
}

/* The test digits upright, turned by random quarter turns, and turned by any angle. */
static equinv_status make_queries(equinv_context *ctx, const equinv_tensor *images, uint64_t seed,
                                  equinv_tensor queries[QUERY_SETS])
{
    equinv_status status;
    const int64_t count = images->shape[0];
    double *const angles = malloc(sizeof *angles * (size_t)(count > 0 ? count : 1));
    const uint32_t key[2] = {(uint32_t)seed, (uint32_t)(seed >> 32)};
    if (!angles)
        return EQUINV_ERR_NOMEM;
    for (query_set q = UPRIGHT; q < QUERY_SETS; q++)
        TRY(equinv_tensor_create(ctx, EQUINV_U8, 3, images->shape, &queries[q]));
    TRY(equinv_tensor_convert(ctx, images, 1, 0, &queries[UPRIGHT]));
    for (int64_t n = 0; n < count; n++) {
        uint32_t word[4];
        const uint32_t counter[4] = {(uint32_t)n, 0, 0, UINT32_C(0x7475726e)}; /* "turn" */
        equinv_philox(counter, key, word);
        equinv_tensor from, to;
        TRY(equinv_tensor_rows(images, n, 1, &from));
        TRY(equinv_tensor_rows(&queries[QUARTER_TURNS], n, 1, &to));
        TRY(turn_images(ctx, equinv_cyclic(TURNS), (int32_t)(word[0] >> 30), &from, &to));
        angles[n] = 6.28318530717958647693 * (double)word[1] * 0x1p-32;
    }
    rotate_images(images, angles, &queries[ANY_ANGLE]);
done:
    free(angles);
    return status;
}

/* k-nearest-neighbour accuracy of one code for every set of queries; project_rate on the way. */
static equinv_status measure_code(const coder *c, const equinv_tensor *gallery,
                                  const equinv_tensor *gallery_labels,
                                  const equinv_tensor latents[QUERY_SETS],
                                  const equinv_tensor *labels, results *r)
{
    equinv_status status;
    equinv_tensor gallery_codes = {0}, codes = {0};
    bool owned = false;
    const double start = now();
    TRY(coder_encode(c, gallery, &gallery_codes, &owned));
    if (c->kind == LINEAR)
        r->project_rate = (double)gallery->shape[0] / (now() - start);
    for (query_set q = UPRIGHT; q < QUERY_SETS; q++) {
        TRY(coder_encode(c, &latents[q], &codes, &owned));
        TRY(equinv_knn_accuracy(c->ctx, &gallery_codes, gallery_labels, &codes, labels, NEIGHBOURS,
                                &r->knn[c->kind][q]));
        if (owned)
            equinv_tensor_destroy(c->ctx, &codes);
    }
done:
    if (owned) {
        equinv_tensor_destroy(c->ctx, &gallery_codes);
        equinv_tensor_destroy(c->ctx, &codes);
    }
    return status;
}

/* Two classes in all four turns, in the principal components of the upright ones. */
static equinv_status make_picture(equinv_context *ctx, equinv_model *model, const digits *d,
                                  const coder *coders, results *r)
{
    equinv_status status;
    enum { POINTS = PICTURE_DIGITS * TURNS };
    static double coordinates[2][2 * POINTS];
    int32_t labels[PICTURE_DIGITS];
    int64_t chosen = 0;
    equinv_tensor room = {0}, images, latents = {0}, codes = {0};
    const int64_t height = d->test.images.shape[1], width = d->test.images.shape[2];
    TRY(equinv_tensor_create(ctx, EQUINV_U8, 3, (int64_t[]){POINTS, height, width}, &room));
    for (int64_t n = 0; n < d->test.images.shape[0] && chosen < PICTURE_DIGITS; n++) {
        const int32_t label = ((const int32_t *)d->test.labels.data)[n];
        if (label != picture_pair[0] && label != picture_pair[1])
            continue;
        for (int32_t g = 0; g < TURNS; g++) {
            equinv_tensor from, to;
            TRY(equinv_tensor_rows(&d->test.images, n, 1, &from));
            TRY(equinv_tensor_rows(&room, chosen * TURNS + g, 1, &to));
            TRY(turn_images(ctx, equinv_cyclic(TURNS), g, &from, &to));
        }
        labels[chosen++] = label;
    }
    TRY(equinv_tensor_rows(&room, 0, chosen * TURNS, &images));
    TRY(extract(ctx, model, &images, &latents));
    panel panels[2] = {
        {"raw codes: turned digits leave their class", coordinates[0], {0, 0}},
        {"after the linear projection: each turn at the same place", coordinates[1], {0, 0}},
    };
    bool owned;
    TRY(principal_components(&latents, TURNS, coordinates[0], panels[0].shares));
    TRY(coder_encode(&coders[LINEAR], &latents, &codes, &owned));
    TRY(principal_components(&codes, TURNS, coordinates[1], panels[1].shares));
    r->picture = draw_picture(
        PICTURE_FILE, OUTPUT_FOLDER "/codes.txt", panels, 2, chosen * TURNS, TURNS, labels,
        "Latent codes of test digits in the plane of the upright ones' principal components");
done:
    equinv_tensor_destroy(ctx, &codes);
    equinv_tensor_destroy(ctx, &latents);
    equinv_tensor_destroy(ctx, &room);
    return status;
}

static void print_table(const results *r)
{
    printf("\ndata: %s (%s), %lld training and %lld test digits, seed %llu\n", r->data, r->folder,
           (long long)r->train_images, (long long)r->test_images, (unsigned long long)r->seed);
    printf("network: C4, four group convolutions, %d epochs in %.1f s; test accuracy %.3f\n",
           EPOCHS, r->train_seconds, r->test_accuracy);
    printf("equivariance error of the codes %.1e; extraction %.0f images/s; linear projection "
           "%.0f vectors/s\n\n",
           r->equivariance_error, r->extract_rate, r->project_rate);
    printf("%d-nearest-neighbour accuracy of test digits among the codes of upright training "
           "digits\n",
           NEIGHBOURS);
    printf("%-24s %9s %14s %10s %18s\n", "code", "upright", "quarter turns", "any angle",
           "invariance error");
    for (code_kind c = RAW; c < CODE_KINDS; c++)
        printf("%-24s %9.3f %14.3f %10.3f %18.1e\n", code_titles[c], r->knn[c][UPRIGHT],
               r->knn[c][QUARTER_TURNS], r->knn[c][ANY_ANGLE], r->invariance_error[c]);
    if (r->picture)
        printf("\npicture: %s\n", PICTURE_FILE);
    printf("report: %s\n", OUTPUT_FOLDER "/report.json");
}

static bool write_report(const results *r)
{
    const char *const path = OUTPUT_FOLDER "/report.json";
    FILE *const f = fopen(path, "w");
    if (!f) {
        perror(path);
        return false;
    }
    static const char *const words[CODE_KINDS] = {"raw", "group_average", "linear", "max",
                                                  "sorted"};
    static const char *const sets[QUERY_SETS] = {"upright", "90", "any"};
    fprintf(f,
            "{\"data\": \"%s\", \"train_images\": %lld, \"test_images\": %lld, \"seed\": %llu,\n",
            r->data, (long long)r->train_images, (long long)r->test_images,
            (unsigned long long)r->seed);
    fprintf(f, " \"seconds\": %.3f, \"train_seconds\": %.3f, \"test_accuracy\": %.6g,\n",
            r->seconds, r->train_seconds, r->test_accuracy);
    for (code_kind c = RAW; c < CODE_KINDS; c++)
        for (query_set q = UPRIGHT; q < QUERY_SETS; q++)
            fprintf(f, " \"knn_%s_%s\": %.6g,%s", words[c], sets[q], r->knn[c][q],
                    q == ANY_ANGLE ? "\n" : "");
    for (code_kind c = RAW; c < CODE_KINDS; c++)
        fprintf(f, " \"invariance_error%s%s\": %.6g,", c == LINEAR ? "" : "_",
                c == LINEAR ? "" : words[c], r->invariance_error[c]);
    fprintf(f,
            "\n \"equivariance_error\": %.6g, \"extract_images_per_s\": %.6g, "
            "\"project_vectors_per_s\": %.6g,\n \"picture\": ",
            r->equivariance_error, r->extract_rate, r->project_rate);
    fprintf(f, r->picture ? "\"" PICTURE_FILE "\"}\n" : "null}\n");
    return fclose(f) == 0;
}

static equinv_status run(equinv_context *ctx, results *r)
{
    equinv_status status;
    const bool full = getenv("DEMO_FULL") && strcmp(getenv("DEMO_FULL"), "1") == 0;
    const double start = now();
    digits d = {0};
    equinv_model *model = NULL;
    equinv_tensor queries[QUERY_SETS] = {0}, latents[QUERY_SETS] = {0}, gallery = {0};
    coder coders[CODE_KINDS] = {0};

    TRY(digits_load(ctx, r->folder, full ? INT64_MAX : 5000, full ? INT64_MAX : 1000, &d));
    r->train_images = d.train.images.shape[0];
    r->test_images = d.test.images.shape[0];
    TRY(digits_network(ctx, &d, equinv_cyclic(TURNS), fields, r->seed, &model));
    double train_start = now();
    const digits_training how = {EPOCHS,        BATCH,      learning_rate, r->seed,
                                 show_progress, show_epoch, &train_start};
    TRY(digits_train(ctx, model, &d, &how));
    r->train_seconds = now() - train_start;
    TRY(digits_accuracy(ctx, model, &d, NULL, &r->test_accuracy));

    const double extract_start = now();
    TRY(extract(ctx, model, &d.train.images, &gallery));
    r->extract_rate = (double)r->train_images / (now() - extract_start);
    TRY(make_queries(ctx, &d.test.images, r->seed, queries));
    for (query_set q = UPRIGHT; q < QUERY_SETS; q++)
        TRY(extract(ctx, model, &queries[q], &latents[q]));
    for (code_kind c = RAW; c < CODE_KINDS; c++) {
        TRY(coder_create(ctx, c, model, DIGITS_CODE_LAYER, K, r->seed, &coders[c]));
        TRY(measure_code(&coders[c], &gallery, &d.train.labels, latents, &d.test.labels, r));
    }
    TRY(measure_symmetry(ctx, model, &d.test.images, &latents[UPRIGHT], coders, r));
    TRY(make_picture(ctx, model, &d, coders, r));
    TRY(equinv_model_save(model, OUTPUT_FOLDER "/digits.safetensors"));
    r->seconds = now() - start; /* the report's own line of text is all that is left */
done:
    for (code_kind c = RAW; c < CODE_KINDS; c++)
        coder_destroy(&coders[c]);
    for (query_set q = UPRIGHT; q < QUERY_SETS; q++) {
        equinv_tensor_destroy(ctx, &queries[q]);
        equinv_tensor_destroy(ctx, &latents[q]);
    }
    equinv_tensor_destroy(ctx, &gallery);
    equinv_model_destroy(model);
    digits_free(ctx, &d);
    return status;
}

int main(void)
{
    equinv_context *ctx = NULL;
    results r = {.seed = 1};
    const char *const seed = getenv("DEMO_SEED");
    if (seed && *seed) {
        char *end;
        r.seed = strtoull(seed, &end, 10);
        if (*end || end == seed) {
            fprintf(stderr, "demo: DEMO_SEED is \"%s\", expected a number\n", seed);
            return EXIT_FAILURE;
        }
    }
    if (!choose_data(&r))
        return EXIT_FAILURE;
    equinv_context_desc where = EQUINV_CONTEXT_DESC_INIT;
    where.device = EQUINV_DEVICE_CPU; /* it reads images, latents and codes where they are */
    equinv_status status = equinv_context_create(&where, &ctx);
    if (!status) {
        fprintf(stderr, "demo: digits from %s (%s); %s\n", r.folder, r.data,
                equinv_context_description(ctx));
        status = run(ctx, &r);
    }
    equinv_context_destroy(ctx);
    if (status) {
        fprintf(stderr, "demo: %s: %s\n", equinv_status_name(status),
                digits_error()[0] ? digits_error() : equinv_last_error());
        return EXIT_FAILURE;
    }
    print_table(&r);
    return write_report(&r) ? EXIT_SUCCESS : EXIT_FAILURE;
}
