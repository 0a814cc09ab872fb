#include "internal/file.h"

#include <string.h>

#include "internal/stage.h"

struct equinv_writer {
    equinv_context *ctx;
    eqi_output *output;
    equinv_tensor array;   /* shape and dtype of the whole, without data */
    int64_t rows, written; /* axis 0; an array without axes is one row */
};

/* identity NULL: begin anew; else rows receives how many there are. */
static equinv_status create(equinv_context *ctx, const char *path, equinv_dtype dtype, int32_t ndim,
                            const int64_t *shape, const char *identity, equinv_writer **writer,
                            int64_t *rows)
{
    EQI_CHECK(ctx, ARG, "ctx is NULL, expected a context");
    EQI_CHECK(path && *path, ARG, "path is %s, expected a file name", path ? "empty" : "NULL");
    EQI_CHECK(eqi_dtype_bit(dtype), DTYPE, "dtype is %s (0x%x), expected f32, f64, i32, u8 or u32",
              equinv_dtype_name(dtype), (unsigned)dtype);
    EQI_CHECK(ndim >= 0 && ndim <= EQUINV_MAX_DIMS, SHAPE, "ndim is %" PRId32 ", expected 0 to %d",
              ndim, EQUINV_MAX_DIMS);
    EQI_CHECK(shape || ndim == 0, ARG, "shape is NULL, expected %" PRId32 " extents", ndim);
    int64_t factors[EQUINV_MAX_DIMS + 1] = {(int64_t)equinv_dtype_size(dtype)}, bytes;
    for (int32_t i = 0; i < ndim; i++) {
        EQI_CHECK(shape[i] >= 0, SHAPE,
                  "shape has extent %" PRId64 " on axis %" PRId32 ", expected at least 0", shape[i],
                  i);
        factors[i + 1] = shape[i];
    }
    EQI_TRY(eqi_product_of("shape", ndim + 1, factors, &bytes));
    EQI_CHECK(writer, ARG, "writer is NULL, expected where to put the writer");

    equinv_status status;
    void *memory;
    char header[EQI_NPY_HEADER];
    EQI_TRY(eqi_alloc_zeroed(ctx, 1, sizeof(equinv_writer), "a writer", &memory));
    equinv_writer *const w = memory;
    w->ctx = ctx;
    w->array.dtype = dtype;
    w->array.ndim = ndim;
    for (int32_t i = 0; i < ndim; i++)
        w->array.shape[i] = shape[i];
    w->rows = ndim > 0 ? shape[0] : 1;
    const size_t size = eqi_npy_make_header(dtype, ndim, shape, header);
    if (identity) {
        const int64_t row = w->rows > 0 ? bytes / w->rows : 0;
        EQI_TRY_GOTO(status, out,
                     eqi_output_resume(ctx, path, identity, header, size, row, w->rows, &w->output,
                                       &w->written));
        *rows = w->written;
    } else {
        EQI_TRY_GOTO(status, out, eqi_output_create(ctx, path, &w->output));
        EQI_TRY_GOTO(status, out, eqi_output_write(w->output, header, size));
    }
    *writer = w;
    return EQUINV_OK;
out:
    equinv_writer_abort(w);
    return status;
}

equinv_status equinv_writer_create(equinv_context *ctx, const char *path, equinv_dtype dtype,
                                   int32_t ndim, const int64_t *shape, equinv_writer **writer)
{
    return create(ctx, path, dtype, ndim, shape, NULL, writer, NULL);
}

equinv_status equinv_writer_resume(equinv_context *ctx, const char *path, equinv_dtype dtype,
                                   int32_t ndim, const int64_t *shape, const char *identity,
                                   equinv_writer **writer, int64_t *rows)
{
    EQI_CHECK(identity && *identity && strlen(identity) < 4096, ARG,
              "identity is %s, expected 1 to 4095 bytes of text",
              !identity   ? "NULL"
              : *identity ? "longer"
                          : "empty");
    EQI_CHECK(rows, ARG, "rows is NULL, expected where to put the number");
    return create(ctx, path, dtype, ndim, shape, identity, writer, rows);
}

/* rows is [n, rest]; where the array has no axis, also []. */
static equinv_status check_rows(const equinv_writer *w, const equinv_tensor *rows, int64_t *n)
{
    EQI_TRY(eqi_check_cpu_tensor(rows, "rows", eqi_dtype_bit(w->array.dtype)));
    const equinv_tensor *const a = &w->array;
    const int32_t axes = a->ndim > 0 ? a->ndim : 1;
    bool fits = rows->ndim == axes || (rows->ndim == 0 && a->ndim == 0);
    for (int32_t i = 1; fits && i < rows->ndim; i++)
        fits = rows->shape[i] == a->shape[i];
    char has[192], file[192];
    EQI_CHECK(fits, SHAPE,
              "rows has shape %s, expected any number of rows of %s, whose shape is %s",
              eqi_shape_text(rows->ndim, rows->shape, has, sizeof has), eqi_output_name(w->output),
              eqi_shape_text(a->ndim, a->shape, file, sizeof file));
    *n = rows->ndim > 0 ? rows->shape[0] : 1;
    EQI_CHECK(*n <= w->rows - w->written, SHAPE,
              "rows has %" PRId64 " rows, expected at most the %" PRId64 " that %s still lacks", *n,
              w->rows - w->written, eqi_output_name(w->output));
    return EQUINV_OK;
}

equinv_status equinv_writer_write(equinv_writer *writer, const equinv_tensor *rows)
{
    int64_t n;
    EQI_CHECK(writer, ARG, "writer is NULL, expected an open writer");
    EQI_TRY(check_rows(writer, rows, &n));
    EQI_TRY(eqi_output_tensor(writer->output, rows));
    writer->written += n;
    return EQUINV_OK;
}

equinv_status equinv_writer_commit(equinv_writer *writer)
{
    EQI_CHECK(writer, ARG, "writer is NULL, expected an open writer");
    equinv_status status = EQUINV_OK;
    if (writer->written < writer->rows && !eqi_output_failed(writer->output)) {
        status = eqi_fail(EQUINV_ERR_SHAPE,
                          "%s got %" PRId64 " of its %" PRId64 " rows, expected all before commit",
                          eqi_output_name(writer->output), writer->written, writer->rows);
    } else {
        status = eqi_output_commit(writer->output);
        writer->output = NULL;
    }
    equinv_writer_abort(writer);
    return status;
}

void equinv_writer_abort(equinv_writer *writer)
{
    if (!writer)
        return;
    eqi_output_abort(writer->output);
    eqi_free(writer->ctx, writer, sizeof *writer);
}

static equinv_status write_rows(void *arg, const equinv_tensor *rows)
{
    return equinv_writer_write(arg, rows);
}

equinv_status equinv_tensor_save(equinv_context *ctx, const char *path, const equinv_tensor *tensor)
{
    EQI_CHECK(ctx, ARG, "ctx is NULL, expected a context");
    EQI_CHECK(path && *path, ARG, "path is %s, expected a file name", path ? "empty" : "NULL");
    EQI_TRY(eqi_check_anywhere(ctx, tensor, "tensor", EQI_ANY));
    equinv_writer *writer;
    EQI_TRY(equinv_writer_create(ctx, path, tensor->dtype, tensor->ndim, tensor->shape, &writer));
    const equinv_status status = eqi_stage_out(ctx, tensor, write_rows, writer);
    if (status != EQUINV_OK) {
        equinv_writer_abort(writer);
        return status;
    }
    return equinv_writer_commit(writer);
}
