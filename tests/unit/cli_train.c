/* equinv train and equinv extract. */
#include <limits.h>
#include <signal.h>
#include <sys/stat.h>
#include <time.h>
#include <unistd.h>

#include "tests/util/command.h"

/* Images of height x width with a block (class 0) or a line (class 1) and noise; labels. */
static void save_examples(const char *folder, const char *images, const char *labels, int count,
                          int height, int width)
{
    uint8_t *const pixels = calloc((size_t)(count * height * width), 1);
    uint8_t *const classes = calloc((size_t)count, 1);
    rng r = {(uint64_t)count};
    ck_assert(pixels && classes);
    for (int i = 0; i < count; i++) {
        const int line = i % 2;
        classes[i] = (uint8_t)line;
        for (int y = 0; y < height; y++)
            for (int x = 0; x < width; x++) {
                const bool on =
                    line ? x == width / 2 : abs(x - width / 2) + abs(y - height / 2) < 3;
                pixels[(i * height + y) * width + x] = (uint8_t)(200 * on + rng_range(&r, 0, 50));
            }
    }
    save_idx(at(folder, images), 3, (int[]){count, height, width}, pixels);
    save_idx(at(folder, labels), 1, &count, classes);
    free(pixels);
    free(classes);
}

#define TRAIN_IMAGES "train-images-idx3-ubyte"
#define TRAIN_LABELS "train-labels-idx1-ubyte"
#define TEST_IMAGES "t10k-images-idx3-ubyte"
#define TEST_LABELS "t10k-labels-idx1-ubyte"
enum { DATA_FILES = 4 };

/* 64 training and 21 test images of 8 x 8. */
static void save_data(const char *folder)
{
    save_examples(folder, TRAIN_IMAGES, TRAIN_LABELS, 64, 8, 8);
    save_examples(folder, TEST_IMAGES, TEST_LABELS, 21, 8, 8);
}

#define SMALL_NETWORK "--fields", "2,3,2,4", "--batch", "10", "--learning-rate", "0.02"

/* Share of test images that the saved model names rightly, by the library. */
static double accuracy_of(equinv_context *ctx, const char *folder, const char *model_name)
{
    equinv_model *model;
    equinv_tensor images, labels, logits;
    int right = 0;
    OK(equinv_model_load(ctx, at(folder, model_name), &model));
    OK(equinv_tensor_load(ctx, at(folder, TEST_IMAGES), &images));
    OK(equinv_tensor_load(ctx, at(folder, TEST_LABELS), &labels));
    OK(equinv_model_forward(model, false, &images, &logits));
    ck_assert_int_eq(logits.shape[1], 2);
    for (int64_t i = 0; i < 21; i++)
        right += (tensor_get(&logits, 2 * i + 1) > tensor_get(&logits, 2 * i)) ==
                 (tensor_get(&labels, i) > 0);
    equinv_tensor_destroy(ctx, &labels), equinv_tensor_destroy(ctx, &images);
    equinv_model_destroy(model);
    return right / 21.0;
}

START_TEST(train_saves_what_it_reports)
{
    const char *const folder = folder_new();
    equinv_context *const ctx = context_new();
    save_data(folder);
    const outcome *o = RUN(folder, "train", ".", "-o", "m.safetensors", "--epochs", "6", "--seed",
                           "4", "--json", SMALL_NETWORK);
    SUCCEEDS(o);
    HAS_NUMBER(o->out, NULL, "train_images", 64);
    HAS_NUMBER(o->out, NULL, "test_images", 21);
    HAS_NUMBER(o->out, NULL, "batch", 10);
    HAS_NUMBER(o->out, NULL, "seed", 4);
    /* lift 2 x 25, conv2 3 x 2 x 4 x 25, conv3 2 x 3 x 4 x 9, conv4 4 x 2 x 4 x 9; gamma and beta;
     * dense 2 x 4 + 2 */
    HAS_NUMBER(o->out, NULL, "parameters", 50 + 600 + 216 + 288 + 2 * 11 + 10);
    SAYS(o->out, "{\"group\": \"C4\", \"fields\": [2, 3, 2, 4], ");
    const double first = json_number_at(o->out, NULL, "loss");
    const double accuracy = json_number_at(o->out, NULL, "test_accuracy");
    ck_assert(first > 0 && first < 5);
    ck_assert_msg(accuracy > 0.9, "accuracy %g of blocks against lines", accuracy);
    ck_assert_int_eq(files_in(folder), DATA_FILES + 1);
    if (has_cjson())
        ck_assert(accuracy_of(ctx, folder, "m.safetensors") == accuracy);
    else
        SKIP("the saved model is not loaded: this build has no cJSON");
    equinv_context_destroy(ctx);
    folder_remove(folder);
}
END_TEST

/* Whole contents, for comparison. */
static bool same_contents(const char *a, const char *b)
{
    FILE *const fa = fopen(a, "rb"), *const fb = fopen(b, "rb");
    int ca, cb;
    ck_assert(fa && fb);
    do {
        ca = fgetc(fa);
        cb = fgetc(fb);
    } while (ca == cb && ca != EOF);
    fclose(fa), fclose(fb);
    return ca == cb;
}

START_TEST(train_depends_on_seed_and_limit_alone)
{
    const char *const folder = folder_new();
    save_data(folder);
    const outcome *o = RUN(folder, "train", ".", "-o", "a", "--epochs", "1", SMALL_NETWORK);
    SUCCEEDS(o);
    ck_assert(has_line(o->out, "64 training and 21 test images of 8 x 8, 2 classes"));
    ck_assert(has_line(o->out, "group C4, fields 2, 3, 2, 4, "));
    ck_assert(has_line(o->out, "epoch   1   loss "));
    ck_assert(has_line(o->out, "test accuracy "));
    SUCCEEDS(RUN(folder, "train", ".", "-o", "b", "--epochs", "1", SMALL_NETWORK));
    SUCCEEDS(RUN(folder, "train", ".", "-o", "c", "--epochs", "1", "--seed", "1", SMALL_NETWORK));
    o = RUN(folder, "train", ".", "-o", "d", "--epochs", "1", "--limit", "40", "--group", "D4",
            SMALL_NETWORK);
    SUCCEEDS(o);
    ck_assert(has_line(o->out, "40 training and 21 test images of 8 x 8, 2 classes"));
    ck_assert(has_line(o->out, "group D4, "));
    ck_assert(same_contents(at(folder, "a"), at(folder, "b")));
    ck_assert(!same_contents(at(folder, "a"), at(folder, "c")));
    folder_remove(folder);
}
END_TEST

/* Whether two model files have the same learnable arrays, but for steps of 1e-30. */
static bool same_parameters(equinv_context *ctx, const char *a, const char *b)
{
    equinv_model *ma, *mb;
    const equinv_parameter *pa, *pb;
    size_t count, other;
    bool same = true;
    OK(equinv_model_load(ctx, a, &ma));
    OK(equinv_model_load(ctx, b, &mb));
    OK(equinv_model_parameters(ma, &pa, &count));
    OK(equinv_model_parameters(mb, &pb, &other));
    ck_assert(count == other && count > 0);
    for (size_t i = 0; i < count; i++)
        for (int64_t k = 0; k < equinv_tensor_count(&pa[i].value); k++)
            same &= fabs(tensor_get(&pa[i].value, k) - tensor_get(&pb[i].value, k)) < 1e-25;
    equinv_model_destroy(ma), equinv_model_destroy(mb);
    return same;
}

START_TEST(train_takes_first_weights_from_the_seed)
{
    const char *const folder = folder_new();
    equinv_context *const ctx = context_new();
    static const char *const names[] = {"a", "b", "c"}, *const seeds[] = {"5", "5", "6"},
                             *const batches[] = {"10", "7", "10"};
    save_data(folder);
    for (int i = 0; i < 3; i++) /* steps too small to change a weight */
        SUCCEEDS(RUN(folder, "train", ".", "-o", names[i], "--epochs", "1", "--seed", seeds[i],
                     "--batch", batches[i], "--fields", "1,2,1,2", "--learning-rate", "1e-30"));
    if (has_cjson()) {
        ck_assert(same_parameters(ctx, at(folder, "a"), at(folder, "b")));
        ck_assert(!same_parameters(ctx, at(folder, "a"), at(folder, "c")));
    } else {
        SKIP("models are not compared: this build has no cJSON");
    }
    /* What is saved are these weights and the statistics of the batches that were seen. */
    ck_assert(!same_contents(at(folder, "a"), at(folder, "b")));
    equinv_context_destroy(ctx);
    folder_remove(folder);
}
END_TEST

START_TEST(train_reads_gzipped_data)
{
    const char *const folder = folder_new();
    char command[2 * PATH_MAX];
    save_data(folder);
    SUCCEEDS(RUN(folder, "train", ".", "-o", "a", "--epochs", "1", SMALL_NETWORK));
    snprintf(command, sizeof command, "gzip '%s'/*ubyte", folder);
    if (!strstr(equinv_build_info(), "zlib: yes"))
        SKIP("this build has no zlib");
    else if (system(command) != 0)
        SKIP("gzip does not run here");
    else {
        SUCCEEDS(RUN(folder, "train", ".", "-o", "b", "--epochs", "1", SMALL_NETWORK));
        ck_assert(same_contents(at(folder, "a"), at(folder, "b")));
    }
    folder_remove(folder);
}
END_TEST

static const struct {
    const char *const *arguments;
    int code;
    const char *words;
} bad_trainings[] = {
    {ARGUMENTS("-o", "m"), USAGE, "no folder of data was given"},
    {ARGUMENTS("."), USAGE, "-o is missing"},
    {ARGUMENTS(".", "x", "-o", "m"), USAGE, "unexpected argument \"x\""},
    {ARGUMENTS(".", "-o", "m", "--epochs", "0"), USAGE, "--epochs is \"0\""},
    {ARGUMENTS(".", "-o", "m", "--batch", "many"), USAGE, "--batch is \"many\""},
    {ARGUMENTS(".", "-o", "m", "--limit", "-1"), USAGE, "--limit is \"-1\""},
    {ARGUMENTS(".", "-o", "m", "--learning-rate", "0"), USAGE,
     "--learning-rate is \"0\", expected a number above 0 and up to 1"},
    {ARGUMENTS(".", "-o", "m", "--learning-rate", "nan"), USAGE, "--learning-rate is \"nan\""},
    {ARGUMENTS(".", "-o", "m", "--fields", "8,16,16"), USAGE,
     "--fields is \"8,16,16\", expected 4 whole numbers like 8,16,16,16"},
    {ARGUMENTS(".", "-o", "m", "--fields", "8,16,16,16,16"), USAGE, "expected 4 whole numbers"},
    {ARGUMENTS(".", "-o", "m", "--fields", "8,,16,16"), USAGE, "--fields is \"\""},
    {ARGUMENTS(".", "-o", "m", "--fields", "8,x,16,16"), USAGE, "--fields is \"x\""},
    {ARGUMENTS(".", "-o", "m", "--group", "K4"), USAGE, "\"K4\""},
    {ARGUMENTS(".", "-o", "m", "--group", "C8"), REFUSED, "C8"},
    {ARGUMENTS("none", "-o", "m"), REFUSED, "none has neither train-images-idx3-ubyte nor"},
    {ARGUMENTS("part", "-o", "m"), REFUSED, "part has neither t10k-labels-idx1-ubyte nor"},
    {ARGUMENTS("oblong", "-o", "m"), REFUSED, "the images are 8 x 4, expected square ones"},
    {ARGUMENTS("odd", "-o", "m"), REFUSED, "the images are 6 x 6, expected square ones"},
    {ARGUMENTS("mixed", "-o", "m"), REFUSED, "the test images are 12 x 12, expected 8 x 8"},
    {ARGUMENTS("counts", "-o", "m"), REFUSED, "labels"},
    {ARGUMENTS(".", "-o", "no/m"), REFUSED, "no/m cannot be written: No such file"},
    {ARGUMENTS(".", "-o", "odd"), REFUSED, "odd is a folder"},
};

START_TEST(train_refuses_with_a_sentence)
{
    const char *const folder = folder_new();
    const struct {
        const char *name;
        int height, width, test_size;
    } folders[] = {{"part", 8, 8, 8},
                   {"oblong", 8, 4, 4},
                   {"odd", 6, 6, 6},
                   {"mixed", 8, 8, 12},
                   {"counts", 8, 8, 8}};
    save_data(folder);
    for (size_t i = 0; i < sizeof folders / sizeof *folders; i++) {
        const char *const inner = at(folder, folders[i].name);
        ck_assert(mkdir(inner, 0700) == 0);
        save_examples(inner, TRAIN_IMAGES, TRAIN_LABELS, 6, folders[i].height, folders[i].width);
        save_examples(inner, TEST_IMAGES, TEST_LABELS, 4, folders[i].test_size,
                      folders[i].test_size);
    }
    ck_assert(unlink(at(folder, "part/" TEST_LABELS)) == 0);
    save_idx(at(folder, "counts/" TRAIN_LABELS), 1, (int[]){5}, (uint8_t[]){0, 1, 0, 1, 0});
    for (size_t i = 0; i < sizeof bad_trainings / sizeof *bad_trainings; i++) {
        const outcome *const o = run_list(folder, "train", bad_trainings[i].arguments);
        GIVES(*o, bad_trainings[i].code);
        SAYS(o->err, bad_trainings[i].words);
        SAYS(o->err, "equinv: train: ");
        ck_assert_int_eq(files_in(folder), DATA_FILES + 5);
    }
    folder_remove(folder);
}
END_TEST

START_TEST(train_on_a_full_disk)
{
    const char *const folder = folder_new();
    const setup full = {.largest_file = 1000};
    save_data(folder);
    FAILS_WITH(
        RUN_WITH(folder, full, "train", ".", "-o", "m", "--epochs", "1", "--json", SMALL_NETWORK),
        REFUSED, "File too large");
    ck_assert_int_eq(files_in(folder), DATA_FILES);
    folder_remove(folder);
}
END_TEST

START_TEST(train_interrupted)
{
    const char *const folder = folder_new();
    char text[4096];
    save_data(folder);
    const pid_t child =
        start(folder, &(setup){.in = NULL},
              ARGUMENTS("train", ".", "-o", "m.safetensors", "--epochs", "100000", SMALL_NETWORK));
    for (int i = 0; i < 1000; i++) {
        read_text(folder, ".out", text, sizeof text);
        if (strstr(text, "epoch   1"))
            break;
        nanosleep(&(struct timespec){0, 10000000}, NULL);
    }
    ck_assert(kill(child, SIGINT) == 0);
    const outcome *const o = finish(child, folder);
    GIVES(*o, INTERRUPTED);
    ck_assert_str_eq(o->err, "equinv: train: interrupted\n");
    ck_assert_int_eq(files_in(folder), DATA_FILES);
    folder_remove(folder);
}
END_TEST

/* Data and a model of one short training; false without cJSON, which extraction needs. */
static bool save_model(const char *folder)
{
    save_data(folder);
    SUCCEEDS(RUN(folder, "train", ".", "-o", "m.safetensors", "--epochs", "1", SMALL_NETWORK));
    return has_cjson();
}

START_TEST(extract_equals_the_library)
{
    const char *const folder = folder_new();
    equinv_context *const ctx = context_new();
    equinv_model *model;
    equinv_projection *projection;
    equinv_tensor images, code = tensor_new(ctx, EQUINV_F32, 5, 21, 4, 4, 2, 2);
    equinv_tensor conv2 = tensor_new(ctx, EQUINV_F32, 5, 21, 3, 4, 4, 4);
    equinv_tensor sorted = tensor_new(ctx, EQUINV_F32, 3, 21, 5, 4);
    equinv_extract_desc desc = EQUINV_EXTRACT_DESC_INIT;
    equinv_projection_desc project = EQUINV_PROJECTION_DESC_INIT;
    if (!save_model(folder)) {
        FAILS_WITH(RUN(folder, "extract", "m.safetensors", TEST_IMAGES, "-o", "z.npy"), REFUSED,
                   "cJSON");
        ck_assert_int_eq(files_in(folder), DATA_FILES + 1);
        folder_remove(folder);
        return;
    }
    OK(equinv_model_load(ctx, at(folder, "m.safetensors"), &model));
    OK(equinv_tensor_load(ctx, at(folder, TEST_IMAGES), &images));

    OK(equinv_extract(model, &desc, &images, NULL, &code));
    SUCCEEDS(RUN(folder, "extract", "m.safetensors", TEST_IMAGES, "-o", "z.npy"));
    assert_file_is(ctx, at(folder, "z.npy"), &code);
    SUCCEEDS(RUN(folder, "extract", "m.safetensors", TEST_IMAGES, "-o", "z.npy", "--layer", "code",
                 "--batch", "4", "--device", "cpu"));
    assert_file_is(ctx, at(folder, "z.npy"), &code);

    desc.layer = "conv2";
    OK(equinv_extract(model, &desc, &images, NULL, &conv2));
    SUCCEEDS(RUN(folder, "extract", "m.safetensors", TEST_IMAGES, "-o", "z.npy", "--layer", "conv2",
                 "--threads", "1"));
    assert_file_is(ctx, at(folder, "z.npy"), &conv2);

    project.kind = EQUINV_PROJECT_SORTED, project.k = 5, project.seed = 3;
    OK(equinv_projection_create_for_layer(model, "conv2", &project, &projection));
    OK(equinv_extract(model, &desc, &images, projection, &sorted));
    SUCCEEDS(RUN(folder, "extract", "m.safetensors", TEST_IMAGES, "-o", "z.npy", "--layer", "conv2",
                 "--project", "sorted", "--k", "5", "--seed", "3"));
    assert_file_is(ctx, at(folder, "z.npy"), &sorted);

    /* NPY images, and the two steps one after the other. */
    OK(equinv_tensor_save(ctx, at(folder, "images.npy"), &images));
    SUCCEEDS(
        RUN(folder, "extract", "m.safetensors", "images.npy", "-o", "y.npy", "--layer", "conv2"));
    SUCCEEDS(RUN(folder, "project", "y.npy", "-o", "z.npy", "--group", "C4", "--kind", "sorted",
                 "--k", "5", "--seed", "3"));
    assert_file_is(ctx, at(folder, "z.npy"), &sorted);

    equinv_projection_destroy(projection);
    equinv_model_destroy(model);
    equinv_tensor_destroy(ctx, &sorted), equinv_tensor_destroy(ctx, &conv2);
    equinv_tensor_destroy(ctx, &code), equinv_tensor_destroy(ctx, &images);
    equinv_context_destroy(ctx);
    folder_remove(folder);
}
END_TEST

static const struct {
    const char *const *arguments;
    int code;
    const char *words;
} bad_extractions[] = {
    {ARGUMENTS("-o", "z.npy"), USAGE, "expected a model and a file of images, nothing was given"},
    {ARGUMENTS("m.safetensors", "-o", "z.npy"), USAGE, "one file was given"},
    {ARGUMENTS("m.safetensors", TEST_IMAGES), USAGE, "-o is missing"},
    {ARGUMENTS("m.safetensors", TEST_IMAGES, "x", "-o", "z.npy"), USAGE,
     "unexpected argument \"x\""},
    {ARGUMENTS("m.safetensors", TEST_IMAGES, "-o", "z.npy", "--k", "4"), USAGE,
     "need --project KIND"},
    {ARGUMENTS("m.safetensors", TEST_IMAGES, "-o", "z.npy", "--project", "sort"), USAGE,
     "--project is \"sort\", which sorts rows"},
    {ARGUMENTS("m.safetensors", TEST_IMAGES, "-o", "z.npy", "--project", "best"), USAGE,
     "--project is \"best\", expected one of: linear"},
    {ARGUMENTS("m.safetensors", TEST_IMAGES, "-o", "z.npy", "--batch", "0"), USAGE,
     "--batch is \"0\""},
    {ARGUMENTS("m.safetensors", TEST_IMAGES, "-o", "m.safetensors"), REFUSED,
     "m.safetensors is read and would be replaced"},
    {ARGUMENTS("m.safetensors", TEST_IMAGES, "-o", TEST_IMAGES), REFUSED,
     "is read and would be replaced"},
    {ARGUMENTS("none", TEST_IMAGES, "-o", "z.npy"), REFUSED, "none"},
    {ARGUMENTS(TEST_IMAGES, TEST_IMAGES, "-o", "z.npy"), REFUSED, TEST_IMAGES},
    {ARGUMENTS("m.safetensors", "none", "-o", "z.npy"), REFUSED, "none"},
    {ARGUMENTS("m.safetensors", TEST_LABELS, "-o", "z.npy"), REFUSED, "shape [21]"},
    {ARGUMENTS("m.safetensors", "m.safetensors", "-o", "z.npy"), REFUSED, "m.safetensors"},
    {ARGUMENTS("m.safetensors", TEST_IMAGES, "-o", "z.npy", "--layer", "conv9"), REFUSED, "conv9"},
    {ARGUMENTS("m.safetensors", TEST_IMAGES, "-o", "z.npy", "--layer", "dense", "--project", "max"),
     REFUSED, "dense"},
    {ARGUMENTS("m.safetensors", TEST_IMAGES, "-o", "no/z.npy"), REFUSED, "no/z.npy"},
};

START_TEST(extract_refuses_with_a_sentence)
{
    const char *const folder = folder_new();
    char text[64];
    if (!save_model(folder)) {
        SKIP("this build has no cJSON");
        folder_remove(folder);
        return;
    }
    for (int existing = 0; existing < 2; existing++) {
        if (existing)
            write_text(folder, "z.npy", "what was there");
        for (size_t i = 0; i < sizeof bad_extractions / sizeof *bad_extractions; i++) {
            FAILS_WITH(run_list(folder, "extract", bad_extractions[i].arguments),
                       bad_extractions[i].code, bad_extractions[i].words);
            ck_assert_int_eq(files_in(folder), DATA_FILES + 1 + existing);
        }
    }
    read_text(folder, "z.npy", text, sizeof text);
    ck_assert_str_eq(text, "what was there");
    folder_remove(folder);
}
END_TEST

START_TEST(extract_interrupted)
{
    const char *const folder = folder_new();
    if (!save_model(folder)) {
        SKIP("this build has no cJSON");
        folder_remove(folder);
        return;
    }
    /* 16,777,216 black images that take no room. */
    const unsigned char header[16] = {0, 0, 8, 3, 1, 0, 0, 0, 0, 0, 0, 8, 0, 0, 0, 8};
    FILE *const file = fopen(at(folder, "images"), "wb");
    ck_assert(file && fwrite(header, 1, 16, file) == 16 && fclose(file) == 0);
    ck_assert(truncate(at(folder, "images"), 16 + (INT64_C(16777216) << 6)) == 0);
    const pid_t child = start(folder, &(setup){.in = NULL},
                              ARGUMENTS("extract", "m.safetensors", "images", "-o", "z.npy",
                                        "--project", "linear", "--k", "1"));
    wait_for_files(folder, DATA_FILES + 3);
    ck_assert(kill(child, SIGTERM) == 0);
    FAILS_WITH(finish(child, folder), INTERRUPTED, "equinv: extract: interrupted\n");
    ck_assert_int_eq(files_in(folder), DATA_FILES + 2);
    folder_remove(folder);
}
END_TEST

int main(void)
{
    const test_entry tests[] = {
        {train_saves_what_it_reports, 1},
        {train_depends_on_seed_and_limit_alone, 1},
        {train_takes_first_weights_from_the_seed, 1},
        {train_reads_gzipped_data, 1},
        {train_refuses_with_a_sentence, 1},
        {train_on_a_full_disk, 1},
        {train_interrupted, 1},
        {extract_equals_the_library, 1},
        {extract_refuses_with_a_sentence, 1},
        {extract_interrupted, 1},
    };
    return run_tests("cli_train", tests, sizeof tests / sizeof *tests);
}
