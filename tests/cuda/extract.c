/* Extraction on a device: from and to either memory, and files; the overlap changes no bit. */
#include <pthread.h>
#include <unistd.h>

#include "internal/model.h"
#include "tests/util/cuda_network.h"
#include "tests/util/extract.h"

enum { IMAGES = 7 };

/*
 * One call a chunk, all on the device: nothing overlaps. In CPU memory. The codes of a chunk are made in
 * rows of one tensor, or in memory of their own: cuBLAS may choose by the alignment of what it writes.
 */
static equinv_tensor chunk_by_chunk(equinv_context *ctx, equinv_model *m, const char *layer,
                                    const equinv_projection *p, const equinv_tensor *images,
                                    int64_t chunk, bool in_rows)
{
    equinv_tensor there = cuda_copy(ctx, images);
    equinv_tensor codes = codes_for(ctx, m, layer, p, images->shape[0]);
    const equinv_extract_desc d = extract_of(layer, chunk);
    for (int64_t first = 0; first < images->shape[0]; first += chunk) {
        const int64_t left = images->shape[0] - first, rows = left < chunk ? left : chunk;
        equinv_tensor some, part, own = codes_for(ctx, m, layer, p, rows);
        OK(equinv_tensor_rows(&there, first, rows, &some));
        OK(equinv_tensor_rows(&codes, first, rows, &part));
        OK(equinv_extract(m, &d, &some, p, in_rows ? &part : &own));
        if (!in_rows)
            OK(equinv_tensor_copy(ctx, &own, &part));
        OK(equinv_context_synchronize(ctx));
        equinv_tensor_destroy(ctx, &own);
    }
    equinv_tensor back = cuda_back(ctx, &codes);
    equinv_tensor_destroy(ctx, &codes);
    equinv_tensor_destroy(ctx, &there);
    return back;
}

/* All at once: images and codes in CPU memory or on the device, with gaps or without. */
static equinv_tensor all_at_once(equinv_context *cpu, equinv_context *ctx, rng *r, equinv_model *m,
                                 const char *layer, const equinv_projection *p,
                                 const equinv_tensor *images, int64_t chunk, int way)
{
    equinv_tensor image_storage, code_storage;
    equinv_tensor codes = codes_for(cpu, m, layer, p, images->shape[0]);
    const bool images_there = way & 1, codes_there = way & 2, gaps = way & 4;
    equinv_tensor from = images_there ? cuda_strided_copy(ctx, r, images, &image_storage)
                                      : tensor_strided_copy(cpu, r, images, &image_storage);
    equinv_tensor to = codes_there ? cuda_strided_copy(ctx, r, &codes, &code_storage)
                                   : tensor_strided_copy(cpu, r, &codes, &code_storage);
    equinv_tensor plain_from = images_there ? cuda_copy(ctx, images) : *images;
    equinv_tensor plain_to = codes_there ? cuda_copy(ctx, &codes) : codes;
    const equinv_extract_desc d = extract_of(layer, chunk);
    OK(equinv_extract(m, &d, gaps ? &from : &plain_from, p, gaps ? &to : &plain_to));
    const equinv_tensor *const result = gaps ? &to : &plain_to;
    /* What is in CPU memory is there when the call returns. */
    equinv_tensor back = codes_there ? cuda_back(ctx, result) : tensor_as(cpu, result, codes.dtype);
    if (images_there)
        equinv_tensor_destroy(ctx, &plain_from);
    if (codes_there)
        equinv_tensor_destroy(ctx, &plain_to);
    equinv_tensor_destroy(codes_there ? ctx : cpu, &code_storage);
    equinv_tensor_destroy(images_there ? ctx : cpu, &image_storage);
    equinv_tensor_destroy(cpu, &codes);
    return back;
}

static const equinv_dtype image_dtypes[] = {EQUINV_U8, EQUINV_F32, EQUINV_F64};

/* Several ways, each with chunks of its own. */
static void many_ways(equinv_context *cpu, equinv_context *ctx, rng *r, equinv_model *m,
                      const char *layer, const equinv_projection *p, const equinv_tensor *images)
{
    for (int way = (int)rng_range(r, 0, 1); way < 8; way += 1 + (int)rng_range(r, 0, 2)) {
        const int64_t chunk = rng_range(r, 1, IMAGES);
        const bool codes_there = way & 2, gaps = way & 4;
        equinv_tensor expected =
            chunk_by_chunk(ctx, m, layer, p, images, chunk, codes_there && !gaps);
        equinv_tensor found = all_at_once(cpu, ctx, r, m, layer, p, images, chunk, way);
        if (p && codes_there && gaps) /* the projection itself may go another way then */
            ASSERT_CLOSE(&found, &expected, 1e-5);
        else
            ck_assert_msg(tensor_same(&found, &expected, NULL),
                          "layer %s, way %d, chunks of %lld: the bits differ", layer, way,
                          (long long)chunk);
        equinv_tensor_destroy(way & 2 ? ctx : cpu, &found);
        equinv_tensor_destroy(ctx, &expected);
    }
}

START_TEST(overlap_changes_no_bit)
{
    equinv_context *const cpu = context_new(), *const ctx = cuda_context_new();
    rng r = {50000 + (uint64_t)_i};
    equinv_model *const here =
        network_random(cpu, &r, (network_options){_i % 2 ? EQUINV_F64 : EQUINV_F32, false});
    network_disturb(&r, here);
    equinv_model *const there = network_copy(ctx, here);
    equinv_tensor images = network_images(cpu, &r, here, IMAGES, image_dtypes[_i % 3]);
    for (int32_t i = 0; i < here->count; i += 5)
        many_ways(cpu, ctx, &r, there, here->nodes[i]->name, NULL, &images);
    many_ways(cpu, ctx, &r, there, here->nodes[here->count - 1]->name, NULL, &images);

    /* The values are those of the CPU. */
    const char *const layer = here->nodes[here->count - 1]->name;
    const equinv_extract_desc d = extract_of(layer, 0);
    equinv_tensor expected = codes_for(cpu, here, layer, NULL, IMAGES);
    equinv_tensor found = codes_for(cpu, here, layer, NULL, IMAGES);
    OK(equinv_extract(here, &d, &images, NULL, &expected));
    OK(equinv_extract(there, &d, &images, NULL, &found));
    ASSERT_CLOSE(&found, &expected, here->desc.dtype == EQUINV_F64 ? 1e-11 : 2e-4);
    equinv_tensor_destroy(cpu, &found);
    equinv_tensor_destroy(cpu, &expected);
    equinv_tensor_destroy(cpu, &images);
    equinv_model_destroy(there);
    equinv_model_destroy(here);
    equinv_context_destroy(ctx);
    equinv_context_destroy(cpu);
}
END_TEST

START_TEST(straight_into_a_projection)
{
    static const equinv_projection_kind kinds[] = {EQUINV_PROJECT_LINEAR, EQUINV_PROJECT_MAX,
                                                   EQUINV_PROJECT_SORTED};
    pair p = pair_small(2, IMAGES, EQUINV_U8);
    rng r = {2};
    for (size_t i = 0; i < sizeof kinds / sizeof *kinds; i++) {
        equinv_projection *const there = projection_for(p.there, "conv2", kinds[i], 5);
        equinv_projection *const here = projection_for(p.here, "conv2", kinds[i], 5);
        many_ways(p.cpu, p.ctx, &r, p.there, "conv2", there, &p.images);
        equinv_tensor found = codes_for(p.cpu, p.here, "conv2", here, IMAGES);
        equinv_tensor expected = codes_for(p.cpu, p.here, "conv2", here, IMAGES);
        const equinv_extract_desc d = extract_of("conv2", 2);
        OK(equinv_extract(p.here, &d, &p.images, here, &expected));
        OK(equinv_extract(p.there, &d, &p.images, there, &found));
        ASSERT_CLOSE(&found, &expected, 1e-4);
        equinv_tensor_destroy(p.cpu, &expected);
        equinv_tensor_destroy(p.cpu, &found);
        equinv_projection_destroy(here);
        equinv_projection_destroy(there);
    }
    pair_small_free(&p);
}
END_TEST

START_TEST(files_give_the_same)
{
    static const equinv_dtype dtypes[] = {EQUINV_U8, EQUINV_F32, EQUINV_F64, EQUINV_I32};
    equinv_context *const cpu = context_new(), *const ctx = cuda_context_new();
    rng r = {3};
    extract_files f = extract_files_new();
    equinv_model *const here = network_small(cpu), *const m = network_copy(ctx, here);
    equinv_projection *const max = projection_for(m, NULL, EQUINV_PROJECT_MAX, 5);
    for (int i = 0; i < 16; i++) {
        const int n = i & 4 ? 0 : IMAGES;
        const equinv_projection *const p = i & 8 ? max : NULL;
        equinv_tensor images = network_images(cpu, &r, here, n, dtypes[i % 4]), read;
        equinv_tensor wide = tensor_as(cpu, &images, EQUINV_F64), stored = images;
        if (i & 1) /* [N, H, W] */
            OK(equinv_tensor_init(images.data, images.dtype, 3, (int64_t[]){n, 8, 8}, &stored));
        const equinv_extract_desc d = extract_of(NULL, i % 3);
        equinv_tensor codes = codes_for(cpu, m, NULL, p, n);
        OK(equinv_tensor_save(cpu, f.in, &stored));
        OK(equinv_extract(m, &d, &wide, p, &codes));
        OK(equinv_extract_file(m, &d, f.in, p, f.out));
        OK(equinv_tensor_load(cpu, f.out, &read));
        ASSERT_SAME(&read, &codes);
        equinv_tensor_destroy(cpu, &read);
        equinv_tensor_destroy(cpu, &codes);
        equinv_tensor_destroy(cpu, &wide);
        equinv_tensor_destroy(cpu, &images);
    }
    equinv_projection_destroy(max);
    equinv_model_destroy(m);
    equinv_model_destroy(here);
    equinv_context_destroy(ctx);
    equinv_context_destroy(cpu);
    extract_files_free(&f, 2);
}
END_TEST

/* ---- progress and failures ------------------------------------------------------------------ */

/* What was told as done is there, whatever comes after it. */
static void check_cancelled(equinv_context *cpu, equinv_context *ctx, equinv_model *m,
                            const equinv_tensor *images, const equinv_tensor *expected, int stop,
                            bool there)
{
    equinv_tensor codes = codes_for(there ? ctx : cpu, m, "sum", NULL, IMAGES), some, wanted;
    watcher w = {.stop_at = stop};
    const equinv_extract_desc d = extract_watched("sum", 2, &w);
    const equinv_status status = equinv_extract(m, &d, images, NULL, &codes);
    ck_assert_int_eq(status, stop ? EQUINV_ERR_CANCELLED : EQUINV_OK);
    ck_assert_int_eq(w.calls, stop ? stop : 4);
    ck_assert_int_eq(w.total, IMAGES);
    equinv_tensor back = there ? cuda_back(ctx, &codes) : codes;
    OK(equinv_tensor_rows(&back, 0, w.done, &some));
    OK(equinv_tensor_rows(expected, 0, w.done, &wanted));
    ASSERT_SAME(&some, &wanted);
    if (there)
        equinv_tensor_destroy(ctx, &back);
    equinv_tensor_destroy(there ? ctx : cpu, &codes);
}

START_TEST(progress_tells_and_cancels)
{
    pair p = pair_small(4, IMAGES, EQUINV_U8);
    extract_files f = extract_files_new();
    equinv_tensor expected = chunk_by_chunk(p.ctx, p.there, "sum", NULL, &p.images, 2, false);
    equinv_tensor expected_there = chunk_by_chunk(p.ctx, p.there, "sum", NULL, &p.images, 2, true);
    OK(equinv_tensor_save(p.cpu, f.in, &p.images));
    for (int stop = 0; stop <= 4; stop++) {
        check_cancelled(p.cpu, p.ctx, p.there, &p.images, &expected, stop, false);
        check_cancelled(p.cpu, p.ctx, p.there, &p.images_there, &expected_there, stop, true);
        watcher w = {.stop_at = stop};
        const equinv_extract_desc d = extract_watched("sum", 2, &w);
        const equinv_status status = equinv_extract_file(p.there, &d, f.in, NULL, f.out);
        ck_assert_int_eq(status, stop ? EQUINV_ERR_CANCELLED : EQUINV_OK);
        ck_assert_int_eq(w.calls, stop ? stop : 4);
        ck_assert_int_eq(access(f.out, F_OK), stop ? -1 : 0);
        if (stop)
            ck_assert(strstr(equinv_last_error(), "cancelled by the progress callback") != NULL);
        else
            unlink(f.out);
    }
    equinv_tensor_destroy(p.ctx, &expected_there);
    equinv_tensor_destroy(p.ctx, &expected);
    pair_small_free(&p);
    extract_files_free(&f, 1);
}
END_TEST

/* The second chunk of a file is not there: the first one is under way then. */
START_TEST(a_file_that_ends_early)
{
    equinv_context *const cpu = context_new(), *const ctx = cuda_context_new();
    temp_folder folder = temp_folder_new();
    char in[160], out[160];
    snprintf(in, sizeof in, "%s", temp_path(&folder, "images.npy.gz"));
    snprintf(out, sizeof out, "%s", temp_path(&folder, "latents.npy"));
    equinv_model *const here = network_small(cpu), *const m = network_copy(ctx, here);
    bytes b = npy_with(1, "{'descr': '|u1', 'fortran_order': False, 'shape': (9, 8, 8), }");
    const char image[64] = {0};
    for (int i = 0; i < 3; i++)
        bytes_add(&b, image, sizeof image);
    if (file_write_gzip(in, b.at, b.size)) {
        const equinv_extract_desc d = extract_of("sum", 2);
        FAILS(EQUINV_ERR_FORMAT, "images.npy.gz", equinv_extract_file(m, &d, in, NULL, out));
        ck_assert_int_eq(temp_count(&folder), 1);
    } else {
        SKIP("no zlib");
    }
    equinv_model_destroy(m);
    equinv_model_destroy(here);
    equinv_context_destroy(ctx);
    equinv_context_destroy(cpu);
    temp_folder_free(&folder);
}
END_TEST

START_TEST(no_images_give_no_codes)
{
    pair p = pair_small(5, 0, EQUINV_F32);
    watcher w = {0};
    const equinv_extract_desc d = extract_watched("sum", 0, &w);
    for (int way = 0; way < 4; way++) {
        equinv_tensor codes = codes_for(way & 2 ? p.ctx : p.cpu, p.there, "sum", NULL, 0);
        OK(equinv_extract(p.there, &d, way & 1 ? &p.images_there : &p.images, NULL, &codes));
        equinv_tensor_destroy(way & 2 ? p.ctx : p.cpu, &codes);
    }
    ck_assert_int_eq(w.calls, 0);
    pair_small_free(&p);
}
END_TEST

START_TEST(wrong_arguments)
{
    pair p = pair_small(6, 2, EQUINV_F32);
    equinv_tensor codes = codes_for(p.ctx, p.there, "sum", NULL, 2);
    equinv_projection *const projection = projection_for(p.here, "sum", EQUINV_PROJECT_MAX, 5);
    const equinv_extract_desc d = extract_of("sum", 0);
    equinv_tensor stray = p.images_there;
    stray.device.index = 3;
    FAILS(EQUINV_ERR_DEVICE, "images is on device cuda:3",
          equinv_extract(p.there, &d, &stray, NULL, &codes));
    stray = codes;
    stray.device.index = 3;
    FAILS(EQUINV_ERR_DEVICE, "dst is on device cuda:3",
          equinv_extract(p.there, &d, &p.images, NULL, &stray));
    FAILS(EQUINV_ERR_DEVICE, "images is on device cuda:0, expected cpu:0",
          equinv_extract(p.here, &d, &p.images_there, NULL, &codes));
    FAILS(EQUINV_ERR_DEVICE, "projection does not fit",
          equinv_extract(p.there, &d, &p.images, projection, &codes));
    codes.shape[0] = 1;
    FAILS(EQUINV_ERR_SHAPE, "dst has shape", equinv_extract(p.there, &d, &p.images, NULL, &codes));
    codes.shape[0] = 2;
    equinv_projection_destroy(projection);
    equinv_tensor_destroy(p.ctx, &codes);
    pair_small_free(&p);
}
END_TEST

/* ---- two threads of one context ------------------------------------------------------------- */

typedef struct worker {
    equinv_model *model;
    equinv_tensor images, codes;
    equinv_status status;
} worker;

static void *work(void *arg)
{
    worker *const w = arg;
    const equinv_extract_desc d = extract_of("sum", 2);
    for (int i = 0; i < 4 && !w->status; i++)
        w->status = equinv_extract(w->model, &d, &w->images, NULL, &w->codes);
    return NULL;
}

START_TEST(two_models_at_once)
{
    equinv_context *const cpu = context_new(), *const ctx = cuda_context_new();
    rng r = {7};
    equinv_model *const here = network_small(cpu);
    worker workers[2] = {{0}};
    pthread_t threads[2];
    for (int i = 0; i < 2; i++) {
        workers[i].model = network_copy(ctx, here);
        workers[i].images = network_images(cpu, &r, here, IMAGES, EQUINV_F32);
        workers[i].codes = codes_for(cpu, here, "sum", NULL, IMAGES);
    }
    for (int i = 0; i < 2; i++)
        ck_assert_int_eq(pthread_create(&threads[i], NULL, work, &workers[i]), 0);
    for (int i = 0; i < 2; i++) {
        worker *const w = &workers[i];
        pthread_join(threads[i], NULL);
        ck_assert_int_eq(w->status, EQUINV_OK);
    }
    for (int i = 0; i < 2; i++) {
        worker *const w = &workers[i];
        equinv_tensor expected = chunk_by_chunk(ctx, w->model, "sum", NULL, &w->images, 2, false);
        ASSERT_SAME(&w->codes, &expected);
        equinv_tensor_destroy(ctx, &expected);
        equinv_tensor_destroy(cpu, &w->codes);
        equinv_tensor_destroy(cpu, &w->images);
        equinv_model_destroy(w->model);
    }
    equinv_model_destroy(here);
    equinv_context_destroy(ctx);
    equinv_context_destroy(cpu);
}
END_TEST

int main(void)
{
    const test_entry tests[] = {
        {overlap_changes_no_bit, 3}, {straight_into_a_projection, 1},
        {files_give_the_same, 1},    {progress_tells_and_cancels, 1},
        {a_file_that_ends_early, 1}, {no_images_give_no_codes, 1},
        {wrong_arguments, 1},        {two_models_at_once, 1},
    };
    return run_cuda_tests("cuda extract", tests, sizeof tests / sizeof *tests);
}
