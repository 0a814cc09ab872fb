/* Latents of any number of images, chunk by chunk, from memory or from a file to a file. */
#include "internal/backend.h"
#include "internal/extract.h"

#include <string.h>

equinv_status eqi_extraction_shape(const eqi_extraction *x, int64_t batch, int32_t *ndim,
                                   int64_t *shape)
{
    if (x->projection)
        return equinv_projection_output_shape(x->projection, batch, ndim, shape);
    const equinv_tensor view = eqi_model_view(x->model, x->node, batch, NULL);
    *ndim = view.ndim;
    memcpy(shape, view.shape, sizeof view.shape);
    return EQUINV_OK;
}

/* A projection refuses latents that do not fit when it is given none of them. */
static equinv_status check_projection(const eqi_extraction *x)
{
    if (!x->projection)
        return EQUINV_OK;
    int32_t ndim;
    int64_t shape[EQUINV_MAX_DIMS];
    EQI_TRY(eqi_extraction_shape(x, 0, &ndim, shape));
    const equinv_tensor latents = eqi_model_map(x->model, x->node, 0, NULL);
    equinv_tensor codes;
    EQI_TRY(equinv_tensor_init(NULL, x->model->desc.dtype, ndim, shape, &codes));
    codes.device = x->model->ctx->device;
    const equinv_status status =
        equinv_project_forward(x->projection, &latents, NULL, &codes, NULL, 0,
                               x->model->scratch.data, x->model->scratch.size);
    if (status != EQUINV_OK)
        return eqi_fail(status, "projection does not fit layer \"%s\": %s", x->node->name,
                        equinv_last_error());
    return EQUINV_OK;
}

/* Checks the description and what does not depend on the images. */
static equinv_status open_extraction(equinv_model *model, const equinv_extract_desc *desc,
                                     const equinv_projection *projection, eqi_extraction *x)
{
    const equinv_extract_desc defaults = EQUINV_EXTRACT_DESC_INIT;
    if (!desc)
        desc = &defaults;
    EQI_TRY(eqi_check_desc(desc->struct_size, sizeof *desc, "equinv_extract_desc"));
    int32_t target;
    EQI_TRY(eqi_model_find_latents(model, desc->layer, &target));
    EQI_CHECK(desc->batch >= 0, ARG, "batch is %" PRId64 ", expected 0 (chosen here) or more",
              desc->batch);
    *x = (eqi_extraction){.model = model,
                          .node = model->nodes[target],
                          .projection = projection,
                          .progress = desc->progress,
                          .progress_user = desc->progress_user};
    x->evaluation.target = target;
    x->evaluation.chunk = desc->batch;
    if (projection)
        EQI_TRY(eqi_block_reserve(model->ctx, &model->scratch,
                                  (int64_t)equinv_projection_scratch_size(projection),
                                  "the projection's scratch"));
    return check_projection(x);
}

static equinv_status begin(eqi_extraction *x, int64_t images, bool outside)
{
    x->images = images;
    return eqi_evaluation_begin(x->model, x->evaluation.target, images, x->evaluation.chunk,
                                outside, &x->evaluation);
}

equinv_status eqi_extraction_run(const eqi_extraction *x, const equinv_tensor *images,
                                 const equinv_tensor *dst)
{
    equinv_tensor values;
    EQI_TRY(eqi_evaluation_run(&x->evaluation, images, dst->data, &values));
    if (x->projection)
        return equinv_project_forward(x->projection, &values, NULL, dst, NULL, 0,
                                      x->model->scratch.data, x->model->scratch.size);
    if (values.data == dst->data)
        return EQUINV_OK;
    if (dst->ndim == 2)
        values.ndim = 2;
    return equinv_tensor_convert(x->model->ctx, &values, 1, 0, dst);
}

equinv_status eqi_extraction_tell(const eqi_extraction *x, int64_t done)
{
    EQI_CHECK(!x->progress || x->progress(x->progress_user, done, x->images) == 0, CANCELLED,
              "cancelled by the progress callback after %" PRId64 " of %" PRId64 " images", done,
              x->images);
    return EQUINV_OK;
}

/* dst as [N, F, G, H, W], or [N, F] after a dense layer; codes as they are. */
static equinv_status check_dst(const eqi_extraction *x, const equinv_tensor *images,
                               const equinv_tensor *dst, equinv_tensor *view)
{
    const equinv_model *const model = x->model;
    EQI_TRY(eqi_check_output_anywhere(model->ctx, dst, "dst", EQI_FLOAT));
    EQI_TRY(eqi_check_dtype(dst, "dst", model->desc.dtype));
    int32_t ndim;
    int64_t shape[EQUINV_MAX_DIMS];
    EQI_TRY(eqi_extraction_shape(x, images->shape[0], &ndim, shape));
    *view = *dst;
    if (ndim == 5)
        EQI_TRY(eqi_check_map(dst, "dst", shape, view));
    else
        EQI_TRY(eqi_check_shape(dst, "dst", ndim, shape));
    return eqi_check_disjoint(dst, "dst", images, "images");
}

equinv_status equinv_extract(equinv_model *model, const equinv_extract_desc *desc,
                             const equinv_tensor *images, const equinv_projection *projection,
                             const equinv_tensor *dst)
{
    eqi_extraction x;
    equinv_tensor from, to;
    EQI_CHECK(model, ARG, "model is NULL, expected a model");
    EQI_TRY(open_extraction(model, desc, projection, &x));
    EQI_TRY(eqi_model_check_images(model, images, true, &from));
    EQI_TRY(check_dst(&x, &from, dst, &to));
    const bool device = model->ctx->backend->device != NULL;
    const bool staged = device && to.device.kind == EQUINV_DEVICE_CPU;
    EQI_TRY(begin(&x, from.shape[0], !projection && (staged || eqi_is_contiguous(&to))));
    if (device)
        return eqi_extract_on_device(&x, &(eqi_extraction_ends){.images = from, .codes = to});
    for (int64_t done = 0; done < x.images;) {
        const int64_t left = x.images - done;
        const int64_t rows = left < x.evaluation.chunk ? left : x.evaluation.chunk;
        equinv_tensor some, part;
        EQI_TRY(equinv_tensor_rows(&from, done, rows, &some));
        EQI_TRY(equinv_tensor_rows(&to, done, rows, &part));
        EQI_TRY(eqi_extraction_run(&x, &some, &part));
        done += rows;
        EQI_TRY(eqi_extraction_tell(&x, done));
    }
    return EQUINV_OK;
}

/* The dtype in which rows of a file are read: its own where the model takes it. */
static equinv_dtype image_dtype(equinv_dtype stored)
{
    return stored == EQUINV_U8 || stored == EQUINV_F32 ? stored : EQUINV_F64;
}

/* Shape and dtype of the file's images, as a tensor of `rows` rows without memory. */
static equinv_tensor image_rows(const equinv_tensor *array, int64_t rows)
{
    equinv_tensor t = *array;
    t.dtype = image_dtype(array->dtype);
    t.shape[0] = rows;
    int64_t stride = 1;
    for (int32_t i = t.ndim - 1; i >= 0; i--) {
        t.strides[i] = stride;
        stride *= t.shape[i];
    }
    return t;
}

/* One chunk after the other through the memory of two tensors. */
static equinv_status copy_chunks(const eqi_extraction *x, const eqi_extraction_ends *ends,
                                 const equinv_tensor *images, const equinv_tensor *codes)
{
    for (int64_t done = 0; done < x->images;) {
        const int64_t left = x->images - done;
        int64_t rows = left < x->evaluation.chunk ? left : x->evaluation.chunk;
        equinv_tensor some, part, view;
        EQI_TRY(equinv_tensor_rows(images, 0, rows, &some));
        EQI_TRY(equinv_reader_read(ends->reader, &some, &rows));
        EQI_TRY(equinv_tensor_rows(codes, 0, rows, &part));
        EQI_TRY(eqi_model_check_images(x->model, &some, false, &view));
        EQI_TRY(eqi_extraction_run(x, &view, &part));
        EQI_TRY(equinv_writer_write(ends->writer, &part));
        done += rows;
        EQI_TRY(eqi_extraction_tell(x, done));
    }
    return EQUINV_OK;
}

static equinv_status copy_through(const eqi_extraction *x, const eqi_extraction_ends *ends)
{
    equinv_context *const ctx = x->model->ctx;
    const equinv_tensor *const from = &ends->images, *const to = &ends->codes;
    equinv_tensor images = {0}, codes = {0};
    equinv_status status = equinv_tensor_create(ctx, from->dtype, from->ndim, from->shape, &images);
    if (status == EQUINV_OK)
        status = equinv_tensor_create(ctx, to->dtype, to->ndim, to->shape, &codes);
    if (status == EQUINV_OK)
        status = copy_chunks(x, ends, &images, &codes);
    equinv_tensor_destroy(ctx, &codes);
    equinv_tensor_destroy(ctx, &images);
    return status;
}

/* The reader's file as images of the model: described without being read. */
static equinv_status check_file(const equinv_model *model, const equinv_reader *reader,
                                const char *path, equinv_tensor *array)
{
    EQI_TRY(equinv_reader_describe(reader, array));
    char has[128];
    const equinv_tensor none = image_rows(array, 0);
    equinv_tensor view;
    EQI_CHECK(array->ndim > 0 && eqi_model_check_images(model, &none, true, &view) == EQUINV_OK,
              SHAPE,
              "%s has shape %s, expected images [N, %" PRId64 ", %" PRId64 ", %" PRId64
              "] (or without the axis of one channel)",
              path, eqi_shape_text(array->ndim, array->shape, has, sizeof has),
              model->desc.channels, model->desc.height, model->desc.width);
    return EQUINV_OK;
}

equinv_status equinv_extract_file(equinv_model *model, const equinv_extract_desc *desc,
                                  const char *images_path, const equinv_projection *projection,
                                  const char *latents_path)
{
    eqi_extraction x;
    EQI_CHECK(model, ARG, "model is NULL, expected a model");
    EQI_TRY(open_extraction(model, desc, projection, &x));
    EQI_CHECK(images_path && *images_path, ARG, "images_path is %s, expected a file name",
              images_path ? "empty" : "NULL");
    EQI_CHECK(latents_path && *latents_path, ARG, "latents_path is %s, expected a file name",
              latents_path ? "empty" : "NULL");

    equinv_context *const ctx = model->ctx;
    eqi_extraction_ends ends = {.codes = {.dtype = model->desc.dtype}};
    ends.codes.device.kind = EQUINV_DEVICE_CPU;
    equinv_tensor array;
    int64_t shape[EQUINV_MAX_DIMS];
    equinv_status status;
    EQI_TRY_GOTO(status, done, equinv_reader_open(ctx, images_path, &ends.reader));
    EQI_TRY_GOTO(status, done, check_file(model, ends.reader, images_path, &array));
    EQI_TRY_GOTO(status, done, begin(&x, array.shape[0], !projection));
    ends.images = image_rows(&array, x.evaluation.chunk);
    EQI_TRY_GOTO(status, done,
                 eqi_extraction_shape(&x, x.evaluation.chunk, &ends.codes.ndim, ends.codes.shape));
    memcpy(shape, ends.codes.shape, sizeof shape);
    shape[0] = x.images;
    EQI_TRY_GOTO(status, done,
                 equinv_writer_create(ctx, latents_path, model->desc.dtype, ends.codes.ndim, shape,
                                      &ends.writer));
    EQI_TRY_GOTO(status, done,
                 (ctx->backend->device ? eqi_extract_on_device : copy_through)(&x, &ends));
    status = equinv_writer_commit(ends.writer);
    ends.writer = NULL;
done:
    equinv_writer_abort(ends.writer);
    equinv_reader_close(ends.reader);
    return status;
}

equinv_status equinv_projection_create_for_layer(const equinv_model *model, const char *layer,
                                                 const equinv_projection_desc *desc,
                                                 equinv_projection **projection)
{
    EQI_CHECK(model, ARG, "model is NULL, expected a model");
    int32_t index;
    EQI_TRY(eqi_model_find_latents(model, layer, &index));
    EQI_CHECK(desc, ARG, "desc is NULL, expected a description");
    EQI_TRY(eqi_check_desc(desc->struct_size, sizeof *desc, "equinv_projection_desc"));
    const eqi_node *const node = model->nodes[index];
    EQI_CHECK(node->shape[2] == model->order, SHAPE,
              "layer \"%s\" has trivial fields, expected regular ones of %" PRId32 " elements",
              node->name, model->order);
    equinv_projection_desc d = *desc;
    d.group = model->desc.group;
    d.dtype = model->desc.dtype;
    d.fields = node->shape[1];
    d.height = node->shape[3];
    d.width = node->shape[4];
    return equinv_projection_create(model->ctx, &d, projection);
}
