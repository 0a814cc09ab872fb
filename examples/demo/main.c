/*
 * Trains a small C4-equivariant network on upright digits, then looks for a digit's nearest neighbours
 * among the codes of the training digits when the digit is upright, turned by quarter turns, or turned
 * by any angle: with the raw codes and through invariant projections.
 *
 * Run as `make demo`; needs no arguments. Environment: EQUINV_DATA (a folder that holds mnist/ with
 * the four files), DEMO_FULL=1 (all digits instead of the first 5,000 and 1,000), DEMO_SEED (default 1).
 */
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "examples/common/experiment.h"

enum { EPOCHS = 10, K = 64 };

enum { RAW, GROUP_AVERAGE, LINEAR, MAX, SORTED, CODES };
static const code_desc codes[CODES] = {
    [RAW] = {"raw", "raw codes", .kind = CODE_RAW},
    [GROUP_AVERAGE] = {"group_average", "group average pooling", CODE_POOL,
                       .pool = EQUINV_POOL_GROUP_MEAN},
    [LINEAR] = {"linear", "linear, k = 64", CODE_PROJECT, .projection = EQUINV_PROJECT_LINEAR,
                .k = K, .templates = EQUINV_TEMPLATE_GAUSSIAN},
    [MAX] = {"max", "max, k = 64", CODE_PROJECT, .projection = EQUINV_PROJECT_MAX, .k = K,
             .templates = EQUINV_TEMPLATE_GAUSSIAN},
    [SORTED] = {"sorted", "sorted, k = 64", CODE_PROJECT, .projection = EQUINV_PROJECT_SORTED,
                .k = K, .templates = EQUINV_TEMPLATE_GAUSSIAN},
};

#define PICTURE "codes" /* .png */
#define REPORT_FILE "report.json"

const char program_name[] = "demo";

typedef struct results {
    const char *data;
    double seconds, train_seconds, test_accuracy, equivariance_error;
    double extract_rate, project_rate;
    code_figures codes[CODES];
    int64_t train_images, test_images;
    bool picture;
} results;

/* Where the digits are: $EQUINV_DATA, a folder beside the repository, else what it contains. */
static bool choose_data(experiment *e, results *r, char *path, size_t size)
{
    const char *const wanted = getenv("EQUINV_DATA");
    e->data = path;
    if (wanted && *wanted) {
        snprintf(path, size, "%s/mnist", wanted);
        r->data = "EQUINV_DATA";
        if (!digits_present(path))
            tool_fail("EQUINV_DATA is \"%s\", expected a folder that holds mnist/ with the four "
                      "files of MNIST (.gz or plain)",
                      wanted);
        return digits_present(path);
    }
    static const struct {
        const char *folder, *name;
    } places[] = {{"../shared/data/mnist", "shared"}, {"examples/data", "embedded"}};
    for (size_t i = 0; i < sizeof places / sizeof *places; i++) {
        snprintf(path, size, "%s", places[i].folder);
        r->data = places[i].name;
        if (digits_present(path))
            return true;
    }
    tool_fail("no digits in %s, run it from the repository's root", path);
    return false;
}

static equinv_status make_picture(const extraction *trained, const experiment *e, const digits *d,
                                  const coder *linear, results *r)
{
    static const char *const titles[PLANES] = {
        "raw codes: turned digits leave their class",
        "after the linear projection: each turn at the same place",
    };
    static code_planes planes;
    const equinv_status status = find_planes(trained, linear, d, &planes);
    if (!status)
        r->picture = draw_planes(
            &planes, 0, PLANES, titles,
            "Latent codes of test digits in the plane of the upright ones' principal components",
            e->folder, PICTURE);
    return status;
}

static void print_table(const experiment *e, const results *r)
{
    printf("\ndata: %s (%s), %lld training and %lld test digits, seed %llu\n", r->data, e->data,
           (long long)r->train_images, (long long)r->test_images, (unsigned long long)e->seed);
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
    for (int c = 0; c < CODES; c++)
        printf("%-24s %9.3f %14.3f %10.3f %18.1e\n", codes[c].title, r->codes[c].knn[UPRIGHT],
               r->codes[c].knn[QUARTER_TURNS], r->codes[c].knn[ANY_ANGLE],
               r->codes[c].orbit.invariance_error);
    if (r->picture)
        printf("\npicture: %s/%s.png\n", e->folder, PICTURE);
    printf("report: %s/%s\n", e->folder, REPORT_FILE);
}

static bool write_report(const experiment *e, const results *r)
{
    report_file file;
    char key[64], path[4200];
    if (!report_begin(&file, e->folder, REPORT_FILE))
        return false;
    json *const j = &file.json;
    json_text(j, "data", r->data);
    json_integer(j, "train_images", r->train_images);
    json_integer(j, "test_images", r->test_images);
    json_unsigned(j, "seed", e->seed);
    json_number(j, "seconds", r->seconds);
    json_number(j, "train_seconds", r->train_seconds);
    json_number(j, "test_accuracy", r->test_accuracy);
    for (int c = 0; c < CODES; c++) {
        for (query_set q = UPRIGHT; q < QUERY_SETS; q++) {
            snprintf(key, sizeof key, "knn_%s_%s", codes[c].name, query_names[q]);
            json_number(j, key, r->codes[c].knn[q]);
        }
        snprintf(key, sizeof key, "invariance_error%s%s", c == LINEAR ? "" : "_",
                 c == LINEAR ? "" : codes[c].name);
        json_number(j, key, r->codes[c].orbit.invariance_error);
    }
    json_number(j, "equivariance_error", r->equivariance_error);
    json_number(j, "extract_images_per_s", r->extract_rate);
    json_number(j, "project_vectors_per_s", r->project_rate);
    snprintf(path, sizeof path, "%s/%s.png", e->folder, PICTURE);
    if (r->picture)
        json_text(j, "picture", path);
    else
        json_number(j, "picture", (double)NAN); /* null */
    return report_end(&file);
}

/* Latents through the linear projection in a second. */
static equinv_status measure_rate(const coder *c, const equinv_tensor *latents, double *rate)
{
    equinv_tensor projected = {0};
    const double start = seconds_now();
    const equinv_status status = encode(c, latents, &projected);
    *rate = (double)latents->shape[0] / (seconds_now() - start);
    equinv_tensor_destroy(c->place->cpu, &projected);
    return status;
}

static equinv_status run(const place *p, const experiment *e, results *r)
{
    equinv_status status;
    const double start = seconds_now();
    const training network = c4_network(e->epochs);
    digits d = {0};
    digit_sets images = {0}, latents = {0};
    extraction trained = {p, NULL, DIGITS_CODE_LAYER};
    coder coders[CODES] = {{0}};
    char path[4200];

    TRY(digits_load(p->cpu, e->data, e->train, e->test, &d));
    r->train_images = d.train.images.shape[0];
    r->test_images = d.test.images.shape[0];
    TRY(train_network(p, e, &d, &network, &trained.model, &r->train_seconds));
    TRY(digits_accuracy(p->net, trained.model, &d.test, NULL, &r->test_accuracy));

    TRY(make_sets(p->cpu, &d, e->seed, &images));
    const double extract_start = seconds_now();
    TRY(map_sets(extract, &trained, &images, &latents));
    r->extract_rate = (double)sets_count(&images) / (seconds_now() - extract_start);
    TRY(equivariance_error(p->cpu, &latents, &r->equivariance_error));
    for (int c = 0; c < CODES; c++) {
        TRY(coder_create(p, &codes[c], network.group, &latents.gallery, e->seed, NULL, &coders[c]));
        TRY(measure_code(&coders[c], &latents, &r->codes[c]));
    }
    TRY(measure_rate(&coders[LINEAR], &latents.gallery, &r->project_rate));
    TRY(make_picture(&trained, e, &d, &coders[LINEAR], r));
    snprintf(path, sizeof path, "%s/digits.safetensors", e->folder);
    TRY(equinv_model_save(trained.model, path));
    r->seconds = seconds_now() - start; /* the report's own line of text is all that is left */
done:
    for (int c = 0; c < CODES; c++)
        coder_destroy(&coders[c]);
    sets_free(p->cpu, &latents);
    sets_free(p->cpu, &images);
    equinv_model_destroy(trained.model);
    digits_free(p->cpu, &d);
    return status;
}

/* A number from the environment; false after a sentence if it is none. */
static bool seed_from_environment(uint64_t *seed)
{
    const char *const text = getenv("DEMO_SEED");
    return !text || !*text || option_seed("DEMO_SEED", text, seed);
}

int main(void)
{
    char path[4200];
    experiment e = experiment_default(EPOCHS);
    results r = {0};
    place p;
    e.folder = "build/demo";
    output_signals();
    if (getenv("DEMO_FULL") && strcmp(getenv("DEMO_FULL"), "1") == 0)
        e.train = e.test = INT64_MAX;
    if (!seed_from_environment(&e.seed) || !choose_data(&e, &r, path, sizeof path))
        return EXIT_FAILURE;
    equinv_status status = place_create(&e.device, &p);
    if (!status) {
        fprintf(stderr, "demo: digits from %s (%s); %s\n", e.data, r.data,
                equinv_context_description(p.cpu));
        status = run(&p, &e, &r);
    }
    place_destroy(&p);
    if (status)
        return experiment_failed(status);
    print_table(&e, &r);
    return write_report(&e, &r) ? EXIT_SUCCESS : EXIT_FAILURE;
}
