#include "internal/backend.h"
#include "internal/file.h"
#include "internal/stage.h"

#include <string.h>

struct equinv_reader {
    equinv_context *ctx;
    eqi_input *input;
    eqi_array array;
    int64_t rows, next;   /* axis 0; an array without axes is one row */
    int64_t row_count;    /* elements of a row */
    bool ended;           /* and nothing follows */
    equinv_status failed; /* the first failure after which the place in the file is lost */
};

/* NPY or IDX, by the first four bytes. */
static equinv_status read_header(eqi_input *input, eqi_array *array)
{
    unsigned char magic[4] = {0};
    size_t got;
    EQI_TRY(eqi_input_read(input, magic, sizeof magic, &got));
    EQI_CHECK(got > 0, FORMAT, "%s is empty, expected an NPY or IDX file", input->name);
    if (got == 4 && memcmp(magic, "\x93NUM", 4) == 0)
        return eqi_npy_read_header(input, array);
    if (got == 4 && magic[0] == 0 && magic[1] == 0)
        return eqi_idx_read_header(input, magic, array);
    return eqi_fail(EQUINV_ERR_FORMAT,
                    "%s starts with bytes %02x %02x %02x %02x%s, expected NPY (93 4e 55 4d) or IDX "
                    "(00 00 type axes), plain or gzipped",
                    input->name, magic[0], magic[1], magic[2], magic[3],
                    got < 4 ? " (it is shorter)" : "");
}

equinv_status equinv_reader_open(equinv_context *ctx, const char *path, equinv_reader **reader)
{
    EQI_CHECK(ctx, ARG, "ctx is NULL, expected a context");
    EQI_CHECK(path && *path, ARG, "path is %s, expected a file name", path ? "empty" : "NULL");
    EQI_CHECK(reader, ARG, "reader is NULL, expected where to put the reader");
    void *memory;
    equinv_status status;
    EQI_TRY(eqi_alloc_zeroed(ctx, 1, sizeof(equinv_reader), "a reader", &memory));
    equinv_reader *const r = memory;
    r->ctx = ctx;
    EQI_TRY_GOTO(status, out, eqi_input_open(ctx, path, true, &r->input));
    EQI_TRY_GOTO(status, out, read_header(r->input, &r->array));
    EQI_TRY_GOTO(status, out, eqi_input_promise(r->input, r->array.bytes));
    r->rows = r->array.ndim > 0 ? r->array.shape[0] : 1;
    r->row_count = r->array.count > 0 ? r->array.count / r->rows : 0;
    *reader = r;
    return EQUINV_OK;
out:
    equinv_reader_close(r);
    return status;
}

void equinv_reader_close(equinv_reader *reader)
{
    if (!reader)
        return;
    eqi_input_close(reader->input);
    eqi_free(reader->ctx, reader, sizeof *reader);
}

equinv_status equinv_reader_describe(const equinv_reader *reader, equinv_tensor *array)
{
    EQI_CHECK(reader, ARG, "reader is NULL, expected an open reader");
    EQI_CHECK(array, ARG, "array is NULL, expected where to put the description");
    const eqi_array *const a = &reader->array;
    const equinv_dtype dtype = eqi_stored_types[a->stored].announced;
    equinv_tensor t = {.device = {EQUINV_DEVICE_CPU, 0}, .dtype = dtype, .ndim = a->ndim};
    int64_t stride = 1;
    for (int32_t i = a->ndim - 1; i >= 0; i--) {
        t.shape[i] = a->shape[i];
        t.strides[i] = a->count > 0 ? stride : 0;
        stride *= a->count > 0 ? a->shape[i] : 1;
    }
    *array = t;
    return EQUINV_OK;
}

/* rows is [n, rest]; where the array has no axis, also []. *room is n. */
static equinv_status check_rows(const equinv_reader *r, const equinv_tensor *rows, int64_t *room)
{
    EQI_TRY(eqi_check_cpu_output(rows, "rows", EQI_ANY));
    const eqi_array *const a = &r->array;
    const int32_t axes = a->ndim > 0 ? a->ndim : 1;
    *room = rows->ndim > 0 ? rows->shape[0] : 1;
    bool fits = rows->ndim == axes || (rows->ndim == 0 && a->ndim == 0);
    for (int32_t i = 1; fits && i < rows->ndim; i++)
        fits = rows->shape[i] == a->shape[i];
    char has[192], file[192];
    EQI_CHECK(fits, SHAPE,
              "rows has shape %s, expected any number of rows of %s, whose shape is %s",
              eqi_shape_text(rows->ndim, rows->shape, has, sizeof has), r->input->name,
              eqi_shape_text(a->ndim, a->shape, file, sizeof file));
    return EQUINV_OK;
}

static equinv_status read_rows(equinv_reader *r, const equinv_tensor *rows, int64_t n)
{
    equinv_tensor part = *rows;
    if (part.ndim > 0)
        part.shape[0] = n;
    if (n > 0)
        EQI_TRY(
            eqi_input_elements(r->input, r->input->name, &r->array, r->next * r->row_count, &part));
    r->next += n;
    if (r->next == r->rows && !r->ended) {
        EQI_TRY(eqi_input_end(r->input));
        r->ended = true;
    }
    return EQUINV_OK;
}

equinv_status equinv_reader_read(equinv_reader *reader, const equinv_tensor *rows, int64_t *count)
{
    int64_t room;
    EQI_CHECK(reader, ARG, "reader is NULL, expected an open reader");
    EQI_TRY(check_rows(reader, rows, &room));
    EQI_CHECK(count, ARG, "count is NULL, expected where to put the number of rows read");
    if (reader->failed)
        return eqi_fail(reader->failed, "%s could not be read before, expected no further call",
                        reader->input->name);
    const int64_t left = reader->rows - reader->next, n = room < left ? room : left;
    reader->failed = read_rows(reader, rows, n);
    if (reader->failed)
        return reader->failed;
    *count = n;
    return EQUINV_OK;
}

/* Plain memory of eqi_alloc's becomes a tensor on the context's device; it stays as it is on failure. */
static equinv_status move_to_device(equinv_context *ctx, equinv_tensor *tensor, size_t bytes)
{
    equinv_tensor there;
    EQI_TRY(equinv_tensor_create(ctx, tensor->dtype, tensor->ndim, tensor->shape, &there));
    const equinv_status status = eqi_copy_now(ctx, tensor, &there);
    if (status != EQUINV_OK) {
        equinv_tensor_destroy(ctx, &there);
        return status;
    }
    eqi_free(ctx, tensor->data, bytes);
    *tensor = there;
    return EQUINV_OK;
}

equinv_status equinv_tensor_load(equinv_context *ctx, const char *path, equinv_tensor *tensor)
{
    EQI_CHECK(ctx, ARG, "ctx is NULL, expected a context");
    EQI_CHECK(path && *path, ARG, "path is %s, expected a file name", path ? "empty" : "NULL");
    EQI_CHECK(tensor, ARG, "tensor is NULL, expected where to put the tensor");
    equinv_status status;
    equinv_reader *reader;
    equinv_tensor t;
    int64_t rows;
    EQI_TRY(equinv_reader_open(ctx, path, &reader));
    EQI_TRY_GOTO(status, out, equinv_reader_describe(reader, &t));
    /* Not zeroed: memory that a pipe promises and never fills is then never touched. */
    const size_t bytes = (size_t)reader->array.count * equinv_dtype_size(t.dtype);
    t.data = eqi_alloc(ctx, bytes);
    if (!t.data) {
        status = eqi_fail(EQUINV_ERR_NOMEM, "out of memory: the data of %s needs %zu bytes",
                          reader->input->name, bytes);
        goto out;
    }
    status = equinv_reader_read(reader, &t, &rows);
    if (status == EQUINV_OK && ctx->backend->device)
        status = move_to_device(ctx, &t, bytes);
    if (status == EQUINV_OK)
        *tensor = t;
    else
        eqi_free(ctx, t.data, bytes);
out:
    equinv_reader_close(reader);
    return status;
}
