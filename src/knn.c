#include <math.h>
#include <stdatomic.h>

#include "internal/backend.h"
#include "internal/nearest.h"
#include "internal/sort.h"
#include "internal/tensor.h"

/* Rows [N, ..]; `numbers` is what a row has. */
static equinv_status check_rows(const equinv_context *ctx, const equinv_tensor *tensor,
                                const char *name, int64_t *numbers)
{
    EQI_TRY(eqi_check_tensor(ctx, tensor, name, EQI_FLOAT));
    EQI_CHECK(tensor->ndim >= 1, SHAPE, "%s has ndim 0, expected [rows, ..]", name);
    return eqi_product_of(name, tensor->ndim - 1, tensor->shape + 1, numbers);
}

static equinv_status check_labels(const equinv_context *ctx, const equinv_tensor *labels,
                                  const char *name, int64_t rows)
{
    EQI_TRY(eqi_check_tensor(ctx, labels, name, EQI_I32 | EQI_U8));
    return eqi_check_shape(labels, name, 1, &rows);
}

static int32_t label_at(const equinv_tensor *labels, int64_t row)
{
    const int64_t at = row * labels->strides[0];
    return labels->dtype == EQUINV_U8 ? ((const uint8_t *)labels->data)[at]
                                      : ((const int32_t *)labels->data)[at];
}

/* The rows one after the other: as they are, or in a copy that `owned` receives. */
static equinv_status pack_rows(equinv_context *ctx, const equinv_tensor *rows,
                               equinv_tensor *packed, equinv_tensor *owned)
{
    *packed = *rows;
    if (eqi_is_contiguous(rows))
        return EQUINV_OK;
    EQI_TRY(equinv_tensor_create(ctx, rows->dtype, rows->ndim, rows->shape, owned));
    *packed = *owned;
    return equinv_tensor_convert(ctx, rows, 1, 0, packed);
}

/* Numbers the labels of the gallery 0, 1, .. in ascending order; how many there are. */
static int32_t number_classes(const equinv_tensor *labels, eqi_item *items, int32_t *class_of)
{
    const int64_t rows = labels->shape[0];
    for (int64_t i = 0; i < rows; i++)
        items[i] = (eqi_item){label_at(labels, i), (int32_t)i};
    eqi_sort(items, rows, items + rows);
    int32_t classes = 0;
    for (int64_t i = 0; i < rows; i++) {
        classes += i == 0 || items[i].value != items[i - 1].value;
        class_of[items[i].index] = classes - 1;
    }
    return classes;
}

typedef struct poll {
    const equinv_tensor *gallery_labels, *query_labels;
    const int32_t *class_of;
    int64_t k;
    _Atomic int64_t right;
} poll;

/* `room` counts votes by class and is left at zero. */
static void vote(void *arg, int64_t query, const eqi_neighbour *nearest, void *room)
{
    poll *const v = arg;
    int32_t *const votes = room;
    int32_t most = 0, winner = 0;
    for (int64_t i = 0; i < v->k; i++)
        votes[v->class_of[nearest[i].index]]++;
    for (int64_t i = 0; i < v->k; i++) { /* nearest first: it wins a tie */
        int32_t *const count = &votes[v->class_of[nearest[i].index]];
        if (*count > most) {
            most = *count;
            winner = nearest[i].index;
        }
        *count = 0;
    }
    if (label_at(v->gallery_labels, winner) == label_at(v->query_labels, query))
        atomic_fetch_add(&v->right, 1);
}

static equinv_status count_right(equinv_context *ctx, const equinv_tensor *gallery,
                                 const equinv_tensor *queries, int64_t numbers, poll *v)
{
    const int64_t rows = gallery->shape[0];
    equinv_tensor packed_gallery, packed_queries, own_gallery = {0}, own_queries = {0};
    void *items = NULL, *class_of = NULL;
    equinv_status status;
    EQI_TRY_GOTO(status, done, pack_rows(ctx, gallery, &packed_gallery, &own_gallery));
    EQI_TRY_GOTO(status, done, pack_rows(ctx, queries, &packed_queries, &own_queries));
    EQI_TRY_GOTO(status, done,
                 eqi_alloc_zeroed(ctx, rows, 2 * sizeof(eqi_item), "numbering labels", &items));
    EQI_TRY_GOTO(status, done,
                 eqi_alloc_zeroed(ctx, rows, sizeof(int32_t), "numbering labels", &class_of));
    const int32_t classes = number_classes(v->gallery_labels, items, class_of);
    v->class_of = class_of;
    status =
        eqi_nearest(ctx, &(eqi_nearest_problem){.dtype = gallery->dtype,
                                                .gallery = packed_gallery.data,
                                                .queries = packed_queries.data,
                                                .gallery_rows = rows,
                                                .query_rows = queries->shape[0],
                                                .dimension = numbers,
                                                .k = v->k,
                                                .found = vote,
                                                .arg = v,
                                                .room_size = (size_t)classes * sizeof(int32_t)});
done:
    eqi_free(ctx, class_of, (size_t)rows * sizeof(int32_t));
    eqi_free(ctx, items, (size_t)rows * 2 * sizeof(eqi_item));
    equinv_tensor_destroy(ctx, &own_queries);
    equinv_tensor_destroy(ctx, &own_gallery);
    return status;
}

equinv_status equinv_knn_accuracy(equinv_context *ctx, const equinv_tensor *gallery,
                                  const equinv_tensor *gallery_labels, const equinv_tensor *queries,
                                  const equinv_tensor *query_labels, int64_t k, double *accuracy)
{
    int64_t numbers, query_numbers;
    EQI_CHECK(ctx, ARG, "ctx is NULL, expected a context");
    EQI_CHECK(!ctx->backend->device, UNSUPPORTED,
              "ctx is of device %s, where neighbours are not counted; expected a context of "
              "EQUINV_DEVICE_CPU and codes in CPU memory (equinv_tensor_copy)",
              ctx->backend->name);
    EQI_TRY(check_rows(ctx, gallery, "gallery", &numbers));
    const int64_t rows = gallery->shape[0];
    EQI_CHECK(rows >= 1 && rows <= INT32_MAX, SHAPE,
              "gallery has %" PRId64 " rows, expected 1 to 2^31 - 1", rows);
    EQI_TRY(check_labels(ctx, gallery_labels, "gallery_labels", rows));
    EQI_TRY(check_rows(ctx, queries, "queries", &query_numbers));
    EQI_TRY(eqi_check_dtype(queries, "queries", gallery->dtype));
    EQI_CHECK(query_numbers == numbers, SHAPE,
              "queries have %" PRId64 " numbers a row, expected %" PRId64 " as gallery has",
              query_numbers, numbers);
    EQI_TRY(check_labels(ctx, query_labels, "query_labels", queries->shape[0]));
    EQI_CHECK(k >= 1 && k <= rows, ARG,
              "k is %" PRId64 ", expected 1 to the gallery's %" PRId64 " rows", k, rows);
    EQI_CHECK(accuracy, ARG, "accuracy is NULL, expected where to put the number");
    if (queries->shape[0] == 0) {
        *accuracy = (double)NAN;
        return EQUINV_OK;
    }
    poll v = {.gallery_labels = gallery_labels, .query_labels = query_labels, .k = k};
    EQI_TRY(count_right(ctx, gallery, queries, numbers, &v));
    *accuracy = (double)v.right / (double)queries->shape[0];
    return EQUINV_OK;
}
