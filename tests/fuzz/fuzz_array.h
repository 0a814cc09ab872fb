/* The life of an array file, for the targets that read NPY, IDX and gzip. */
#ifndef TESTS_FUZZ_FUZZ_ARRAY_H
#define TESTS_FUZZ_FUZZ_ARRAY_H

#include "tests/fuzz/fuzz.h"

/* Row by row into another dtype: the counts must add up to the shape. */
static void fuzz_stream(equinv_context *ctx, const char *path, equinv_dtype dtype, int64_t rows)
{
    equinv_reader *reader = NULL;
    equinv_tensor array, part;
    int64_t count = 0, total = 0;
    if (equinv_reader_open(ctx, path, &reader))
        return;
    FUZZ_CHECK(equinv_reader_describe(reader, &array) == EQUINV_OK);
    FUZZ_CHECK(equinv_tensor_count(&array) >= 0);
    if (array.ndim > 0)
        array.shape[0] = array.shape[0] < rows ? array.shape[0] : rows;
    if (equinv_tensor_create(ctx, dtype, array.ndim, array.shape, &part) == EQUINV_OK) {
        equinv_status status = EQUINV_OK;
        for (int calls = 0; calls < 1000; calls++) {
            status = equinv_reader_read(reader, &part, &count);
            if (status || count == 0)
                break;
            FUZZ_CHECK(count <= (array.ndim > 0 ? part.shape[0] : 1));
            total += count;
        }
        FUZZ_CHECK(equinv_reader_describe(reader, &array) == EQUINV_OK);
        if (status == EQUINV_OK && count == 0 && part.shape[0] > 0 && array.ndim > 0)
            FUZZ_CHECK(total == array.shape[0]);
        equinv_tensor_destroy(ctx, &part);
    }
    equinv_reader_close(reader);
}

/* Loads, saves what was loaded, and loads it again. Returns the status of the first load. */
static equinv_status fuzz_array(const void *data, size_t size)
{
    static const equinv_dtype dtypes[] = {EQUINV_F32, EQUINV_F64, EQUINV_I32, EQUINV_U8,
                                          EQUINV_U32};
    equinv_context *const ctx = fuzz_context();
    const fuzz_file file = fuzz_file_of(data, size), copy = fuzz_file_of(NULL, 0);
    equinv_tensor t, back;
    const equinv_status status = equinv_tensor_load(ctx, file.path, &t);
    if (status == EQUINV_OK) {
        FUZZ_CHECK(equinv_tensor_save(ctx, copy.path, &t) == EQUINV_OK);
        FUZZ_CHECK(equinv_tensor_load(ctx, copy.path, &back) == EQUINV_OK);
        fuzz_same(&t, &back);
        equinv_tensor_destroy(ctx, &back);
        equinv_tensor_destroy(ctx, &t);
    } else {
        FUZZ_CHECK(*equinv_last_error());
    }
    fuzz_stream(ctx, file.path, dtypes[size % 5], 1 + (int64_t)(size % 7));
    close(file.fd);
    close(copy.fd);
    return status;
}

#endif
