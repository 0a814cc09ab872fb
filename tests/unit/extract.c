/* Extraction: the same latents in any chunk, from memory and from files, with bounded memory. */
#include <math.h>
#include <sys/stat.h>
#include <unistd.h>

#include "internal/model.h"
#include "tests/util/extract.h"

enum { BUNDLES = 10, NETWORKS_IN_BUNDLE = 20 };

START_TEST(a_latent_does_not_depend_on_its_chunk)
{
    equinv_context *const ctx = context_new();
    for (int k = 0; k < NETWORKS_IN_BUNDLE; k++) {
        const uint64_t seed = 20000 + (uint64_t)(_i * NETWORKS_IN_BUNDLE + k);
        rng r = {seed};
        const equinv_dtype dtype = k % 4 ? EQUINV_F32 : EQUINV_F64;
        equinv_model *const m = network_random(ctx, &r, (network_options){dtype, false});
        network_disturb(&r, m);
        equinv_tensor images = network_images(ctx, &r, m, 7, EQUINV_F32);
        for (int32_t i = 0; i < m->count; i++) {
            const char *const layer = m->nodes[i]->name;
            equinv_tensor z[3];
            const int64_t chunks[] = {7, rng_range(&r, 1, 4), 0};
            for (int j = 0; j < 3; j++) {
                const equinv_extract_desc d = extract_of(layer, chunks[j]);
                z[j] = codes_for(ctx, m, layer, NULL, 7);
                OK(equinv_extract(m, &d, &images, NULL, &z[j]));
                int64_t where = -1;
                ck_assert_msg(tensor_same(&z[j], &z[0], &where),
                              "seed %llu, layer %s, chunk %lld: differs at %lld",
                              (unsigned long long)seed, layer, (long long)chunks[j],
                              (long long)where);
            }
            for (int j = 0; j < 3; j++)
                equinv_tensor_destroy(ctx, &z[j]);
        }
        equinv_tensor_destroy(ctx, &images);
        equinv_model_destroy(m);
    }
    equinv_context_destroy(ctx);
}
END_TEST

START_TEST(latents_are_the_activations)
{
    equinv_context *const ctx = context_new();
    rng r = {3};
    equinv_model *const m = model_new(ctx, equinv_dihedral(4), EQUINV_F32, 2, 6, 6);
    model_add(m, conv_of("conv1", 2, 3));
    model_add(m, layer_of(EQUINV_LAYER_RELU, "relu1"));
    model_add(m, conv_of("conv2", 2, 3));
    model_add(m, add_of("sum", "conv2", "relu1"));
    model_add(m, layer_of(EQUINV_LAYER_RELU, "relu2"));
    model_add(m, pool_of("pool", EQUINV_POOL_MAX, 2));
    model_add(m, dense_of("logits", 3));
    equinv_tensor images = network_images(ctx, &r, m, 4, EQUINV_F64), dst, kept, storage;
    OK(equinv_model_forward(m, true, &images, &dst)); /* no batch norm: training = evaluation */
    for (int32_t i = 0; i < m->count; i++) {
        const char *const layer = m->nodes[i]->name;
        const equinv_extract_desc d = extract_of(layer, 3);
        OK(equinv_model_activation(m, layer, &kept));
        equinv_tensor z = tensor_like(ctx, &kept);
        OK(equinv_extract(m, &d, &images, NULL, &z));
        ASSERT_SAME(&z, &kept);
        equinv_tensor strided = tensor_strided_copy(ctx, &r, &z, &storage);
        for (int64_t k = 0; k < equinv_tensor_count(&strided); k++)
            tensor_set(&strided, k, -77);
        OK(equinv_extract(m, &d, &images, NULL, &strided));
        ASSERT_SAME(&strided, &kept);
        equinv_tensor_destroy(ctx, &storage);
        equinv_tensor_destroy(ctx, &z);
    }
    equinv_tensor_destroy(ctx, &images);
    equinv_model_destroy(m);
    equinv_context_destroy(ctx);
}
END_TEST

START_TEST(layer_null_is_the_last_regular_one_with_space)
{
    equinv_context *const ctx = context_new();
    rng r = {4};
    equinv_model *m = network_small(ctx);
    equinv_tensor images = network_images(ctx, &r, m, 2, EQUINV_F32);
    equinv_tensor z = codes_for(ctx, m, "sum", NULL, 2),
                  expected = codes_for(ctx, m, "sum", NULL, 2);
    equinv_extract_desc d = extract_of("sum", 0);
    OK(equinv_extract(m, NULL, &images, NULL, &z));
    OK(equinv_extract(m, &d, &images, NULL, &expected));
    ASSERT_SAME(&z, &expected);
    equinv_model_destroy(m);

    m = model_new(ctx, equinv_cyclic(4), EQUINV_F32, 1, 8, 8); /* no space left anywhere */
    FAILS(EQUINV_ERR_ARG, "has none", equinv_extract(m, NULL, &images, NULL, &z));
    equinv_layer_desc conv = conv_of("conv", 2, 8);
    conv.padding = 0;
    model_add(m, conv);
    equinv_tensor flat = tensor_new(ctx, EQUINV_F32, 5, 2, 2, 4, 1, 1);
    OK(equinv_extract(m, NULL, &images, NULL, &flat));
    equinv_tensor_destroy(ctx, &flat);
    equinv_model_destroy(m);

    m = model_new(ctx, equinv_cyclic(4), EQUINV_F32, 1, 8, 8); /* none left at the end */
    model_add(m, conv_of("conv", 3, 3));
    model_add(m, pool_of("mean", EQUINV_POOL_GLOBAL_AVERAGE, 1));
    equinv_tensor last = tensor_new(ctx, EQUINV_F32, 5, 2, 3, 4, 8, 8);
    OK(equinv_extract(m, NULL, &images, NULL, &last));
    equinv_tensor_destroy(ctx, &last);
    equinv_tensor_destroy(ctx, &z);
    equinv_tensor_destroy(ctx, &expected);
    equinv_tensor_destroy(ctx, &images);
    equinv_model_destroy(m);
    equinv_context_destroy(ctx);
}
END_TEST

START_TEST(straight_into_a_projection)
{
    static const equinv_projection_kind kinds[] = {
        EQUINV_PROJECT_LINEAR,   EQUINV_PROJECT_MAX,         EQUINV_PROJECT_MEAN,
        EQUINV_PROJECT_MEAN_ABS, EQUINV_PROJECT_MEAN_SQUARE, EQUINV_PROJECT_SORTED,
        EQUINV_PROJECT_ORBIT,
    };
    small_case c = small_new(5, 9, EQUINV_U8);
    equinv_tensor z = codes_for(c.ctx, c.model, "conv2", NULL, 9);
    equinv_extract_desc d = extract_of("conv2", 4);
    OK(equinv_extract(c.model, &d, &c.images, NULL, &z));
    for (size_t i = 0; i < sizeof kinds / sizeof *kinds; i++) {
        equinv_projection *const p = projection_for(c.model, "conv2", kinds[i], 7);
        int32_t ndim;
        int64_t shape[3];
        equinv_tensor codes, expected, storage;
        OK(equinv_projection_output_shape(p, 9, &ndim, shape));
        OK(equinv_tensor_create(c.ctx, EQUINV_F32, ndim, shape, &codes));
        OK(equinv_tensor_create(c.ctx, EQUINV_F32, ndim, shape, &expected));
        OK(equinv_project_forward(p, &z, NULL, &expected, NULL, 0, NULL, 0));
        OK(equinv_extract(c.model, &d, &c.images, p, &codes));
        ASSERT_SAME(&codes, &expected);
        equinv_tensor strided = tensor_strided_copy(c.ctx, &c.r, &c.images, &storage);
        d.batch = 0;
        OK(equinv_extract(c.model, &d, &strided, p, &codes));
        ASSERT_SAME(&codes, &expected);
        equinv_tensor_destroy(c.ctx, &storage);
        equinv_tensor_destroy(c.ctx, &codes);
        equinv_tensor_destroy(c.ctx, &expected);
        equinv_projection_destroy(p);
    }
    equinv_tensor_destroy(c.ctx, &z);
    small_free(&c);
}
END_TEST

START_TEST(files_give_the_same)
{
    static const equinv_dtype dtypes[] = {EQUINV_U8, EQUINV_F32, EQUINV_F64, EQUINV_I32};
    equinv_context *const ctx = context_new();
    rng r = {6};
    extract_files f = extract_files_new();
    equinv_model *const m = network_small(ctx);
    equinv_projection *const p = projection_for(m, NULL, EQUINV_PROJECT_MAX, 7);
    for (int i = 0; i < 4; i++)
        for (int n = 0; n < 8; n += 7)
            for (int three = 0; three < 2; three++)
                for (int projected = 0; projected < 2; projected++) {
                    equinv_tensor images = network_images(ctx, &r, m, n, dtypes[i]), z, read;
                    equinv_tensor stored = images, wide = tensor_as(ctx, &images, EQUINV_F64);
                    if (three)
                        OK(equinv_tensor_init(images.data, images.dtype, 3, (int64_t[]){n, 8, 8},
                                              &stored));
                    OK(equinv_tensor_save(ctx, f.in, &stored));
                    z = projected ? tensor_new(ctx, EQUINV_F32, 2, n, 7)
                                  : codes_for(ctx, m, "sum", NULL, n);
                    const equinv_extract_desc d = extract_of(NULL, i == 0 ? 0 : 3);
                    OK(equinv_extract(m, &d, &wide, projected ? p : NULL, &z));
                    OK(equinv_extract_file(m, &d, f.in, projected ? p : NULL, f.out));
                    OK(equinv_tensor_load(ctx, f.out, &read));
                    ck_assert_int_eq(read.ndim, z.ndim);
                    ck_assert_int_eq(read.shape[0], n);
                    ASSERT_SAME(&read, &z);
                    equinv_tensor_destroy(ctx, &read);
                    equinv_tensor_destroy(ctx, &z);
                    equinv_tensor_destroy(ctx, &wide);
                    equinv_tensor_destroy(ctx, &images);
                }
    equinv_projection_destroy(p);
    equinv_model_destroy(m);
    equinv_context_destroy(ctx);
    extract_files_free(&f, 2);
}
END_TEST

START_TEST(dense_latents_have_two_axes)
{
    small_case c = small_new(7, 5, EQUINV_U8);
    extract_files f = extract_files_new();
    equinv_tensor read, dst;
    OK(equinv_tensor_save(c.ctx, f.in, &c.images));
    const equinv_extract_desc d = extract_of("logits", 2);
    OK(equinv_extract_file(c.model, &d, f.in, NULL, f.out));
    OK(equinv_tensor_load(c.ctx, f.out, &read));
    OK(equinv_model_forward(c.model, false, &c.images, &dst));
    ck_assert(read.ndim == 2 && read.shape[0] == 5 && read.shape[1] == 3);
    ASSERT_SAME(&read, &dst);
    equinv_tensor_destroy(c.ctx, &read);
    small_free(&c);
    extract_files_free(&f, 2);
}
END_TEST

/* ---- progress */

START_TEST(progress_tells_and_cancels)
{
    small_case c = small_new(8, 7, EQUINV_U8);
    extract_files f = extract_files_new();
    equinv_tensor z = codes_for(c.ctx, c.model, "sum", NULL, 7);
    OK(equinv_tensor_save(c.ctx, f.in, &c.images));
    for (int stop = 0; stop <= 3; stop++)
        for (int file = 0; file < 2; file++) {
            watcher w = {.stop_at = stop};
            const equinv_extract_desc d = extract_watched("sum", 3, &w);
            const equinv_status status = file ? equinv_extract_file(c.model, &d, f.in, NULL, f.out)
                                              : equinv_extract(c.model, &d, &c.images, NULL, &z);
            ck_assert_int_eq(w.calls, stop ? stop : 3);
            ck_assert_int_eq(w.total, 7);
            ck_assert_int_eq(status, stop ? EQUINV_ERR_CANCELLED : EQUINV_OK);
            if (stop)
                ck_assert(strstr(equinv_last_error(), "of 7 images") != NULL);
            if (file)
                ck_assert_int_eq(access(f.out, F_OK), stop ? -1 : 0);
            if (file && !stop)
                unlink(f.out);
        }
    /* A file that was there before a cancelled run is there after it. */
    OK(equinv_tensor_save(c.ctx, f.out, &c.images));
    watcher w = {.stop_at = 2};
    const equinv_extract_desc d = extract_watched("sum", 3, &w);
    FAILS(EQUINV_ERR_CANCELLED, "cancelled", equinv_extract_file(c.model, &d, f.in, NULL, f.out));
    equinv_tensor read;
    OK(equinv_tensor_load(c.ctx, f.out, &read));
    ASSERT_SAME(&read, &c.images);
    equinv_tensor_destroy(c.ctx, &read);
    equinv_tensor_destroy(c.ctx, &z);
    small_free(&c);
    extract_files_free(&f, 2);
}
END_TEST

/* ---- memory */

typedef struct meter {
    int64_t now, peak;
} meter;

static void *meter_alloc(void *user, size_t size, size_t alignment)
{
    meter *const m = user;
    void *const p = aligned_alloc(alignment, (size + alignment - 1) / alignment * alignment);
    m->now += p ? (int64_t)size : 0;
    m->peak = m->now > m->peak ? m->now : m->peak;
    return p;
}

static void meter_free(void *user, void *ptr, size_t size)
{
    meter *const m = user;
    m->now -= (int64_t)size;
    free(ptr);
}

static int64_t peak_of(int n, bool file, bool projected, const char *in, const char *out)
{
    meter memory = {0, 0};
    equinv_context_desc d = EQUINV_CONTEXT_DESC_INIT;
    d.allocator = (equinv_allocator){meter_alloc, meter_free, &memory};
    d.threads = 1;
    equinv_context *ctx;
    OK(equinv_context_create(&d, &ctx));
    equinv_model *const m = network_small(ctx);
    equinv_projection *const p = projection_for(m, "pool1", EQUINV_PROJECT_LINEAR, 7);
    uint8_t *const pixels = calloc((size_t)n, 64);
    float *const codes = calloc((size_t)n, 2 * 4 * 16 * sizeof *codes);
    equinv_tensor images, dst;
    const int64_t shape[] = {n, 8, 8}, latent_shape[] = {n, 2, 4, 4, 4}, code_shape[] = {n, 7};
    OK(equinv_tensor_init(pixels, EQUINV_U8, 3, shape, &images));
    OK(equinv_tensor_init(codes, EQUINV_F32, projected ? 2 : 5,
                          projected ? code_shape : latent_shape, &dst));
    if (file)
        OK(equinv_tensor_save(ctx, in, &images));
    memory.peak = memory.now;
    const equinv_extract_desc e = extract_of("pool1", 0);
    if (file)
        OK(equinv_extract_file(m, &e, in, projected ? p : NULL, out));
    else
        OK(equinv_extract(m, &e, &images, projected ? p : NULL, &dst));
    free(pixels);
    free(codes);
    equinv_projection_destroy(p);
    equinv_model_destroy(m);
    equinv_context_destroy(ctx);
    ck_assert_int_eq(memory.now, 0);
    return memory.peak;
}

START_TEST(memory_is_bounded_by_the_chunk)
{
    extract_files f = extract_files_new();
    for (int file = 0; file < 2; file++)
        for (int projected = 0; projected < 2; projected++) {
            const int64_t few = peak_of(1000, file, projected, f.in, f.out);
            const int64_t many = peak_of(10000, file, projected, f.in, f.out);
            ck_assert_msg(many <= few && many < 8 << 20,
                          "file %d, projected %d: %lld bytes for 10000 images, %lld for 1000", file,
                          projected, (long long)many, (long long)few);
        }
    extract_files_free(&f, 2);
}
END_TEST

START_TEST(every_allocation_may_fail)
{
    rng r = {9};
    extract_files files = extract_files_new();
    int failures = 0;
    bool complete = false;
    for (int64_t allowed = 0; !complete; allowed++) {
        fault_allocator f = {.until = -1};
        equinv_context *const ctx = context_of_faults(&f);
        equinv_model *const m = network_small(ctx);
        equinv_projection *p = NULL;
        equinv_projection_desc pd = EQUINV_PROJECTION_DESC_INIT;
        pd.k = 3;
        equinv_tensor images = network_images(ctx, &r, m, 5, EQUINV_U8);
        equinv_tensor codes = tensor_new(ctx, EQUINV_F32, 2, 5, 3);
        OK(equinv_tensor_save(ctx, files.in, &images));
        const equinv_extract_desc e = extract_of(NULL, 2);
        for (int again = 0; again < 2; again++) { /* the second time nothing fails */
            f.until = again ? -1 : f.count + allowed;
            equinv_status status =
                p ? EQUINV_OK : equinv_projection_create_for_layer(m, NULL, &pd, &p);
            if (status == EQUINV_OK)
                status = equinv_extract(m, &e, &images, p, &codes);
            if (status == EQUINV_OK)
                status = equinv_extract_file(m, &e, files.in, p, files.out);
            complete |= !again && status == EQUINV_OK;
            if (status != EQUINV_OK) {
                failures++;
                ck_assert_msg(!again && status == EQUINV_ERR_NOMEM, "%s", equinv_last_error());
                ck_assert_int_eq(access(files.out, F_OK), -1);
            }
        }
        unlink(files.out);
        equinv_projection_destroy(p);
        equinv_tensor_destroy(ctx, &codes);
        equinv_tensor_destroy(ctx, &images);
        equinv_model_destroy(m);
        equinv_context_destroy(ctx);
        ck_assert_int_eq(f.live, 0);
        ck_assert_int_eq(f.wrong_size, 0);
    }
    ck_assert(failures > 10);
    extract_files_free(&files, 1);
}
END_TEST

/* Counts plans of convolutions by what dispatch tells. */
static void count_plans(void *user, equinv_log_level level, const char *text)
{
    int *const plans = user;
    *plans += level == EQUINV_LOG_DISPATCH && strncmp(text, "conv/", 5) == 0 &&
              strstr(text, "chosen") != NULL;
}

START_TEST(plans_are_made_once)
{
    int plans = 0;
    equinv_context_desc d = EQUINV_CONTEXT_DESC_INIT;
    d.log = count_plans;
    d.log_user = &plans;
    equinv_context *ctx;
    OK(equinv_context_create(&d, &ctx));
    equinv_model *const m = network_small(ctx);
    rng r = {12};
    equinv_tensor images = network_images(ctx, &r, m, 10, EQUINV_U8), dst, some;
    equinv_tensor z = codes_for(ctx, m, "sum", NULL, 10);
    const equinv_extract_desc e = extract_of("sum", 4);
    int first = 0;
    for (int epoch = 0; epoch < 3; epoch++) {
        OK(equinv_extract(m, &e, &images, NULL, &z)); /* chunks of 4, 4, 2 */
        for (int64_t i = 0; i < 10; i += 7) {         /* batches of 7 and 3 */
            OK(equinv_tensor_rows(&images, i, i ? 3 : 7, &some));
            OK(equinv_model_forward(m, true, &some, &dst));
            OK(equinv_model_backward(m, &dst));
        }
        first = epoch ? first : plans;
    }
    ck_assert_int_eq(first, 4 * 3); /* four batch sizes, three convolutions */
    ck_assert_int_eq(plans, first);
    equinv_tensor_destroy(ctx, &z);
    equinv_tensor_destroy(ctx, &images);
    equinv_model_destroy(m);
    equinv_context_destroy(ctx);
}
END_TEST

/* ---- arguments */

START_TEST(wrong_arguments)
{
    small_case c = small_new(10, 3, EQUINV_F32);
    equinv_tensor z = codes_for(c.ctx, c.model, "sum", NULL, 3),
                  codes = tensor_new(c.ctx, EQUINV_F32, 2, 3, 7);
    equinv_projection *const p = projection_for(c.model, "sum", EQUINV_PROJECT_LINEAR, 7);
    equinv_projection *const other = projection_for(c.model, "conv1", EQUINV_PROJECT_LINEAR, 7);
    for (int64_t i = 0; i < equinv_tensor_count(&z); i++)
        tensor_set(&z, i, 5);
    equinv_extract_desc d = EQUINV_EXTRACT_DESC_INIT;
    equinv_tensor t;
    FAILS(EQUINV_ERR_ARG, "model", equinv_extract(NULL, &d, &c.images, NULL, &z));
    FAILS(EQUINV_ERR_ARG, "images", equinv_extract(c.model, &d, NULL, NULL, &z));
    FAILS(EQUINV_ERR_ARG, "dst", equinv_extract(c.model, &d, &c.images, NULL, NULL));
    d.struct_size++;
    FAILS(EQUINV_ERR_ARG, "struct_size", equinv_extract(c.model, &d, &c.images, NULL, &z));
    d = extract_of("sun", 0);
    FAILS(EQUINV_ERR_ARG, "layer is \"sun\", expected one of input, conv1,",
          equinv_extract(c.model, &d, &c.images, NULL, &z));
    d = extract_of("sum", -1);
    FAILS(EQUINV_ERR_ARG, "batch is -1", equinv_extract(c.model, &d, &c.images, NULL, &z));
    d = extract_of("sum", 2);
    FAILS(EQUINV_ERR_SHAPE, "projection does not fit layer \"sum\"",
          equinv_extract(c.model, &d, &c.images, other, &codes));
    d = extract_of("logits", 2);
    FAILS(EQUINV_ERR_SHAPE, "layer \"logits\"", equinv_extract(c.model, &d, &c.images, p, &codes));
    d = extract_of("sum", 2);
    static const struct {
        int axis;
        int64_t extent;
        const char *word;
    } wrong[] = {{0, 2, "dst has shape [2, 2, 4, 4, 4], expected [3, 2, 4, 4, 4]"},
                 {1, 1, "dst"},
                 {2, 1, "dst"},
                 {4, 3, "dst"}};
    for (size_t i = 0; i < sizeof wrong / sizeof *wrong; i++) {
        t = z;
        t.shape[wrong[i].axis] = wrong[i].extent;
        FAILS(EQUINV_ERR_SHAPE, wrong[i].word, equinv_extract(c.model, &d, &c.images, NULL, &t));
    }
    FAILS(EQUINV_ERR_SHAPE, "expected [3, 7]", equinv_extract(c.model, &d, &c.images, p, &z));
    t = z;
    t.strides[1] = 0;
    FAILS(EQUINV_ERR_SHAPE, "stride 0", equinv_extract(c.model, &d, &c.images, NULL, &t));
    t = z;
    t.dtype = EQUINV_F64;
    FAILS(EQUINV_ERR_DTYPE, "dst has dtype f64", equinv_extract(c.model, &d, &c.images, NULL, &t));
    t = c.images;
    t.shape[2] = 7;
    FAILS(EQUINV_ERR_SHAPE, "images", equinv_extract(c.model, &d, &t, NULL, &z));
    t = c.images;
    t.dtype = EQUINV_U32;
    FAILS(EQUINV_ERR_DTYPE, "images", equinv_extract(c.model, &d, &t, NULL, &z));
    t = c.images;
    t.device.index = 3;
    FAILS(EQUINV_ERR_DEVICE, "images", equinv_extract(c.model, &d, &t, NULL, &z));
    t = c.images;
    t.data = z.data;
    FAILS(EQUINV_ERR_ARG, "overlaps", equinv_extract(c.model, &d, &t, NULL, &z));
    for (int64_t i = 0; i < equinv_tensor_count(&z); i++)
        ck_assert(tensor_get(&z, i) == 5);

    equinv_projection_desc pd = EQUINV_PROJECTION_DESC_INIT;
    equinv_projection *made = NULL;
    FAILS(EQUINV_ERR_ARG, "model", equinv_projection_create_for_layer(NULL, "sum", &pd, &made));
    FAILS(EQUINV_ERR_ARG, "desc", equinv_projection_create_for_layer(c.model, "sum", NULL, &made));
    FAILS(EQUINV_ERR_ARG, "projection",
          equinv_projection_create_for_layer(c.model, "sum", &pd, NULL));
    FAILS(EQUINV_ERR_ARG, "layer is", equinv_projection_create_for_layer(c.model, "x", &pd, &made));
    FAILS(EQUINV_ERR_SHAPE, "trivial fields",
          equinv_projection_create_for_layer(c.model, "group", &pd, &made));
    FAILS(EQUINV_ERR_SHAPE, "trivial fields",
          equinv_projection_create_for_layer(c.model, "logits", &pd, &made));
    pd.struct_size = 1;
    FAILS(EQUINV_ERR_ARG, "struct_size",
          equinv_projection_create_for_layer(c.model, "sum", &pd, &made));
    const equinv_projection_desc init = EQUINV_PROJECTION_DESC_INIT;
    pd = init;
    pd.kind = EQUINV_PROJECT_SORT;
    FAILS(EQUINV_ERR_ARG, "", equinv_projection_create_for_layer(c.model, "sum", &pd, &made));
    ck_assert_ptr_null(made);
    equinv_projection_destroy(p);
    equinv_projection_destroy(other);
    equinv_tensor_destroy(c.ctx, &z);
    equinv_tensor_destroy(c.ctx, &codes);
    small_free(&c);
}
END_TEST

START_TEST(wrong_files)
{
    small_case c = small_new(11, 5, EQUINV_F32);
    extract_files f = extract_files_new();
    char nowhere[160];
    snprintf(nowhere, sizeof nowhere, "%s", temp_path(&f.folder, "nowhere/latents.npy"));
    equinv_extract_desc d = extract_of(NULL, 2);
    OK(equinv_tensor_save(c.ctx, f.in, &c.images));
    FAILS(EQUINV_ERR_ARG, "model", equinv_extract_file(NULL, &d, f.in, NULL, f.out));
    FAILS(EQUINV_ERR_ARG, "images_path", equinv_extract_file(c.model, &d, NULL, NULL, f.out));
    FAILS(EQUINV_ERR_ARG, "latents_path", equinv_extract_file(c.model, &d, f.in, NULL, NULL));
    FAILS(EQUINV_ERR_IO, "nowhere", equinv_extract_file(c.model, &d, nowhere, NULL, f.out));
    FAILS(EQUINV_ERR_IO, "nowhere", equinv_extract_file(c.model, &d, f.in, NULL, nowhere));
    static const int64_t shapes[][5] = {{5, 64}, {5, 8, 7}, {5, 2, 4, 8}, {5, 1, 8, 8, 1}, {320}};
    static const int32_t ndims[] = {2, 3, 4, 5, 1};
    for (int i = 0; i < 5; i++) {
        equinv_tensor t;
        OK(equinv_tensor_init(c.images.data, EQUINV_F32, ndims[i], shapes[i], &t));
        OK(equinv_tensor_save(c.ctx, f.in, &t));
        FAILS(EQUINV_ERR_SHAPE, "expected images [N, 1, 8, 8]",
              equinv_extract_file(c.model, &d, f.in, NULL, f.out));
        FAILS(EQUINV_ERR_SHAPE, "images.npy", equinv_extract_file(c.model, &d, f.in, NULL, f.out));
    }
    OK(equinv_tensor_save(c.ctx, f.in, &c.images));
    struct stat information;
    ck_assert_int_eq(stat(f.in, &information), 0);
    ck_assert_int_eq(truncate(f.in, information.st_size - 4), 0);
    FAILS(EQUINV_ERR_FORMAT, "images.npy", equinv_extract_file(c.model, &d, f.in, NULL, f.out));
    ck_assert_int_eq(truncate(f.in, information.st_size + 4), 0);
    FAILS(EQUINV_ERR_FORMAT, "images.npy", equinv_extract_file(c.model, &d, f.in, NULL, f.out));
    ck_assert_int_eq(access(f.out, F_OK), -1);
    small_free(&c);
    extract_files_free(&f, 1);
}
END_TEST

int main(void)
{
    const test_entry tests[] = {
        {a_latent_does_not_depend_on_its_chunk, BUNDLES},
        {latents_are_the_activations, 1},
        {layer_null_is_the_last_regular_one_with_space, 1},
        {straight_into_a_projection, 1},
        {files_give_the_same, 1},
        {dense_latents_have_two_axes, 1},
        {progress_tells_and_cancels, 1},
        {memory_is_bounded_by_the_chunk, 1},
        {plans_are_made_once, 1},
        {every_allocation_may_fail, 1},
        {wrong_arguments, 1},
        {wrong_files, 1},
    };
    return run_tests("extract", tests, sizeof tests / sizeof *tests);
}
