#include "internal/tensor.h"

#include <stdlib.h>
#include <string.h>

#include "internal/backend.h"

static const struct {
    equinv_dtype dtype;
    unsigned bit;
    size_t size;
    const char *name;
} dtypes[] = {
    {EQUINV_F32, EQI_F32, 4, "f32"}, {EQUINV_F64, EQI_F64, 8, "f64"},
    {EQUINV_I32, EQI_I32, 4, "i32"}, {EQUINV_U8, EQI_U8, 1, "u8"},
    {EQUINV_U32, EQI_U32, 4, "u32"}, {EQUINV_BF16, 0, 2, "bf16"},
};
enum { DTYPES = sizeof dtypes / sizeof *dtypes };

static int dtype_row(equinv_dtype dtype)
{
    for (int i = 0; i < DTYPES; i++)
        if (dtypes[i].dtype == dtype)
            return i;
    return -1;
}

size_t equinv_dtype_size(equinv_dtype dtype)
{
    const int row = dtype_row(dtype);
    return row < 0 ? 0 : dtypes[row].size;
}

const char *equinv_dtype_name(equinv_dtype dtype)
{
    const int row = dtype_row(dtype);
    return row < 0 ? "unknown" : dtypes[row].name;
}

unsigned eqi_dtype_bit(equinv_dtype dtype)
{
    const int row = dtype_row(dtype);
    return row < 0 ? 0 : dtypes[row].bit;
}

const char *eqi_shape_text(int32_t ndim, const int64_t *shape, char *text, size_t size)
{
    size_t used = (size_t)eqi_format(text, size, "[");
    for (int32_t i = 0; i < ndim && used < size; i++)
        used +=
            (size_t)eqi_format(text + used, size - used, i ? ", %" PRId64 : "%" PRId64, shape[i]);
    if (used < size)
        eqi_format(text + used, size - used, "]");
    return text;
}

equinv_status eqi_product_of(const char *what, int n, const int64_t *factors, int64_t *product)
{
    int64_t p = 1;
    bool empty = false;
    for (int i = 0; i < n; i++)
        empty |= factors[i] == 0;
    for (int i = 0; i < n && !empty; i++)
        EQI_CHECK(!__builtin_mul_overflow(p, factors[i], &p), SHAPE,
                  "%s has more than 2^63 elements, expected a product that fits", what);
    *product = empty ? 0 : p;
    return EQUINV_OK;
}

equinv_status eqi_check_extent(int64_t value, const char *name, int64_t minimum)
{
    EQI_CHECK(value >= minimum && value <= INT64_C(1) << 40, SHAPE,
              "%s is %" PRId64 ", expected %" PRId64 " to 2^40", name, value, minimum);
    return EQUINV_OK;
}

static equinv_status check_axes(int32_t ndim, const int64_t *shape, const char *name)
{
    EQI_CHECK(ndim >= 0 && ndim <= EQUINV_MAX_DIMS, SHAPE,
              "%s has ndim %" PRId32 ", expected 0 to %d", name, ndim, EQUINV_MAX_DIMS);
    for (int32_t i = 0; i < ndim; i++)
        EQI_CHECK(shape[i] >= 0, SHAPE,
                  "%s has extent %" PRId64 " on axis %" PRId32 ", expected at least 0", name,
                  shape[i], i);
    return EQUINV_OK;
}

/* Elements of what nearly every tensor is: row-major without gaps, not empty; else, or beyond int64, 0. */
static int64_t dense_count(const equinv_tensor *t)
{
    int64_t count = 1;
    if (t->ndim < 0 || t->ndim > EQUINV_MAX_DIMS)
        return 0;
    for (int32_t i = t->ndim - 1; i >= 0; i--)
        if (t->shape[i] < 1 || (t->strides[i] != count && t->shape[i] > 1) ||
            __builtin_mul_overflow(count, t->shape[i], &count))
            return 0;
    return count;
}

/* Smallest and largest offset reached, in elements. False if nothing is, or they leave int64. */
static bool reach(const equinv_tensor *t, int64_t *lowest, int64_t *highest)
{
    const int64_t dense = dense_count(t);
    int64_t low = 0, high = dense > 0 ? dense - 1 : 0, span;
    for (int32_t i = 0; i < t->ndim && dense == 0; i++)
        if (t->shape[i] == 0 || __builtin_mul_overflow(t->shape[i] - 1, t->strides[i], &span) ||
            (span < 0 ? __builtin_add_overflow(low, span, &low)
                      : __builtin_add_overflow(high, span, &high)))
            return false;
    *lowest = low;
    *highest = high;
    return true;
}

static bool is_empty(const equinv_tensor *t)
{
    for (int32_t i = 0; i < t->ndim; i++)
        if (t->shape[i] == 0)
            return true;
    return false;
}

/* A quarter of the address space: sums of an address and two reaches cannot overflow. */
static int64_t most_elements(size_t size)
{
    return INT64_MAX / 4 / (int64_t)size;
}

static equinv_status check_struct(const equinv_tensor *tensor, const char *name)
{
    EQI_CHECK(tensor, ARG, "%s is NULL, expected a tensor", name);
    const size_t size = equinv_dtype_size(tensor->dtype);
    EQI_CHECK(size > 0, DTYPE, "%s has dtype 0x%x, expected f32, f64, i32, u8 or u32", name,
              (unsigned)tensor->dtype);
    const int64_t dense = dense_count(tensor);
    if (dense > 0 && dense <= most_elements(size))
        return EQUINV_OK;
    EQI_TRY(check_axes(tensor->ndim, tensor->shape, name));
    int64_t count, lowest, highest;
    EQI_TRY(eqi_product_of(name, tensor->ndim, tensor->shape, &count));
    const int64_t limit = most_elements(size);
    EQI_CHECK(count == 0 || (reach(tensor, &lowest, &highest) && count <= limit &&
                             lowest >= -limit && highest <= limit),
              SHAPE, "%s has strides beyond the address space", name);
    return EQUINV_OK;
}

/* "cpu:0", "cuda:1", "7:0" */
static const char *device_text(equinv_device device, char text[32])
{
    static const char *const kinds[] = {
        [EQUINV_DEVICE_CPU] = "cpu", [EQUINV_DEVICE_CUDA] = "cuda", NULL};
    const unsigned kind = (unsigned)device.kind;
    if (kind < sizeof kinds / sizeof *kinds && kinds[kind])
        eqi_format(text, 32, "%s:%" PRId32, kinds[kind], device.index);
    else
        eqi_format(text, 32, "%d:%" PRId32, (int)device.kind, device.index);
    return text;
}

static equinv_status check_on(equinv_device device, const equinv_tensor *tensor, const char *name,
                              unsigned allowed)
{
    EQI_TRY(check_struct(tensor, name));
    char has[32], wanted[32];
    EQI_CHECK(tensor->device.kind == device.kind && tensor->device.index == device.index, DEVICE,
              "%s is on device %s, expected %s", name, device_text(tensor->device, has),
              device_text(device, wanted));
    if (!(eqi_dtype_bit(tensor->dtype) & allowed)) {
        char expected[64] = "";
        for (int i = 0; i < DTYPES; i++)
            if (dtypes[i].bit & allowed) {
                const size_t used = strlen(expected);
                eqi_format(expected + used, sizeof expected - used, used ? " or %s" : "%s",
                           dtypes[i].name);
            }
        return eqi_fail(EQUINV_ERR_DTYPE, "%s has dtype %s, expected %s", name,
                        equinv_dtype_name(tensor->dtype), expected);
    }
    EQI_CHECK(tensor->data || is_empty(tensor), ARG, "%s has data NULL, expected memory", name);
    EQI_CHECK(((uintptr_t)tensor->data & (equinv_dtype_size(tensor->dtype) - 1)) == 0, ARG,
              "%s has data at %p, expected an address aligned to its element", name, tensor->data);
    return EQUINV_OK;
}

equinv_status eqi_check_tensor(const equinv_context *ctx, const equinv_tensor *tensor,
                               const char *name, unsigned allowed)
{
    EQI_TRY(check_on(ctx->device, tensor, name, allowed));
    if (!ctx->backend->device || is_empty(tensor))
        return EQUINV_OK;
    return ctx->backend->device->check_memory(ctx, tensor->data, name);
}

equinv_status eqi_check_cpu_tensor(const equinv_tensor *tensor, const char *name, unsigned allowed)
{
    return check_on((equinv_device){EQUINV_DEVICE_CPU, 0}, tensor, name, allowed);
}

static equinv_status check_strides(const equinv_tensor *tensor, const char *name)
{
    if (dense_count(tensor) > 0 || is_empty(tensor))
        return EQUINV_OK;
    /* Sorted by stride, each axis must step over all that the smaller ones reach. */
    int32_t order[EQUINV_MAX_DIMS], axes = 0;
    for (int32_t i = 0; i < tensor->ndim; i++) {
        if (tensor->shape[i] == 1)
            continue;
        int32_t place = axes++;
        for (; place > 0 && llabs(tensor->strides[order[place - 1]]) > llabs(tensor->strides[i]);
             place--)
            order[place] = order[place - 1];
        order[place] = i;
    }
    int64_t covered = 0;
    for (int32_t i = 0; i < axes; i++) {
        const int64_t step = llabs(tensor->strides[order[i]]);
        EQI_CHECK(step > covered, SHAPE,
                  "%s has stride %" PRId64 " on axis %" PRId32
                  ", where elements overlap; expected an output to have one place for each",
                  name, tensor->strides[order[i]], order[i]);
        covered += step * (tensor->shape[order[i]] - 1);
    }
    return EQUINV_OK;
}

equinv_status eqi_check_output(const equinv_context *ctx, const equinv_tensor *tensor,
                               const char *name, unsigned allowed)
{
    EQI_TRY(eqi_check_tensor(ctx, tensor, name, allowed));
    return check_strides(tensor, name);
}

equinv_status eqi_check_cpu_output(const equinv_tensor *tensor, const char *name, unsigned allowed)
{
    EQI_TRY(eqi_check_cpu_tensor(tensor, name, allowed));
    return check_strides(tensor, name);
}

equinv_status eqi_check_anywhere(const equinv_context *ctx, const equinv_tensor *tensor,
                                 const char *name, unsigned allowed)
{
    if (tensor && tensor->device.kind == EQUINV_DEVICE_CPU)
        return eqi_check_cpu_tensor(tensor, name, allowed);
    return eqi_check_tensor(ctx, tensor, name, allowed);
}

equinv_status eqi_check_output_anywhere(const equinv_context *ctx, const equinv_tensor *tensor,
                                        const char *name, unsigned allowed)
{
    EQI_TRY(eqi_check_anywhere(ctx, tensor, name, allowed));
    return check_strides(tensor, name);
}

equinv_status eqi_check_dtype(const equinv_tensor *tensor, const char *name, equinv_dtype expected)
{
    EQI_CHECK(tensor->dtype == expected, DTYPE, "%s has dtype %s, expected %s", name,
              equinv_dtype_name(tensor->dtype), equinv_dtype_name(expected));
    return EQUINV_OK;
}

equinv_status eqi_check_argument(const equinv_context *ctx, const equinv_tensor *tensor,
                                 const char *name, bool output, equinv_dtype dtype)
{
    EQI_TRY((output ? eqi_check_output : eqi_check_tensor)(ctx, tensor, name, EQI_FLOAT));
    return eqi_check_dtype(tensor, name, dtype);
}

equinv_status eqi_check_shape(const equinv_tensor *tensor, const char *name, int32_t ndim,
                              const int64_t *shape)
{
    bool equal = tensor->ndim == ndim;
    for (int32_t i = 0; equal && i < ndim; i++)
        equal = tensor->shape[i] == shape[i];
    char has[128], expected[128];
    EQI_CHECK(equal, SHAPE, "%s has shape %s, expected %s", name,
              eqi_shape_text(tensor->ndim, tensor->shape, has, sizeof has),
              eqi_shape_text(ndim, shape, expected, sizeof expected));
    return EQUINV_OK;
}

equinv_status eqi_check_same_shape(const equinv_tensor *tensor, const char *name,
                                   const equinv_tensor *other, const char *other_name)
{
    bool equal = tensor->ndim == other->ndim;
    for (int32_t i = 0; equal && i < tensor->ndim; i++)
        equal = tensor->shape[i] == other->shape[i];
    char has[128], expected[128];
    EQI_CHECK(equal, SHAPE, "%s has shape %s, expected %s as %s has", name,
              eqi_shape_text(tensor->ndim, tensor->shape, has, sizeof has),
              eqi_shape_text(other->ndim, other->shape, expected, sizeof expected), other_name);
    return EQUINV_OK;
}

/* [N, F G, H, W] seen as [N, F, G, H, W]; the caller has checked that G divides axis 1. */
static equinv_tensor split_channels(const equinv_tensor *t, int64_t order)
{
    equinv_tensor map = *t;
    map.ndim = 5;
    for (int32_t i = 4; i > 2; i--) {
        map.shape[i] = t->ndim == 4 ? t->shape[i - 1] : 1;
        map.strides[i] = t->ndim == 4 ? t->strides[i - 1] : 1;
    }
    map.shape[1] = t->shape[1] / order;
    /* Overflows only where axis 1 has at most one field, whose stride nobody uses. */
    map.strides[1] = (int64_t)((uint64_t)t->strides[1] * (uint64_t)order);
    map.shape[2] = order;
    map.strides[2] = t->strides[1];
    return map;
}

equinv_status eqi_check_map(const equinv_tensor *tensor, const char *name, const int64_t shape[5],
                            equinv_tensor *map)
{
    *map = *tensor;
    if (tensor->ndim == 4 && tensor->shape[1] == shape[1] * shape[2])
        *map = split_channels(tensor, shape[2]);
    bool equal = map->ndim == 5;
    for (int32_t i = 0; equal && i < 5; i++)
        equal = map->shape[i] == shape[i];
    char has[128], expected[128];
    EQI_CHECK(equal, SHAPE, "%s has shape %s, expected %s (or fields and elements as one axis)",
              name, eqi_shape_text(tensor->ndim, tensor->shape, has, sizeof has),
              eqi_shape_text(5, shape, expected, sizeof expected));
    return EQUINV_OK;
}

static bool overlap(const equinv_tensor *a, const equinv_tensor *b)
{
    int64_t lowest_a, highest_a, lowest_b, highest_b;
    if (!reach(a, &lowest_a, &highest_a) || !reach(b, &lowest_b, &highest_b))
        return false;
    const int64_t size_a = (int64_t)equinv_dtype_size(a->dtype);
    const int64_t size_b = (int64_t)equinv_dtype_size(b->dtype);
    const intptr_t base_a = (intptr_t)a->data, base_b = (intptr_t)b->data;
    return base_a + lowest_a * size_a < base_b + (highest_b + 1) * size_b &&
           base_b + lowest_b * size_b < base_a + (highest_a + 1) * size_a;
}

equinv_status eqi_check_disjoint(const equinv_tensor *output, const char *output_name,
                                 const equinv_tensor *input, const char *input_name)
{
    EQI_CHECK(!overlap(output, input), ARG, "%s overlaps %s, expected separate memory", output_name,
              input_name);
    return EQUINV_OK;
}

equinv_status eqi_check_disjoint_or_same(const equinv_tensor *output, const char *output_name,
                                         const equinv_tensor *input, const char *input_name)
{
    bool same =
        output->data == input->data && output->ndim == input->ndim && output->dtype == input->dtype;
    for (int32_t i = 0; same && i < output->ndim; i++)
        same = output->shape[i] == input->shape[i] &&
               (output->shape[i] == 1 || output->strides[i] == input->strides[i]);
    EQI_CHECK(same || !overlap(output, input), ARG,
              "%s overlaps %s, expected separate memory or the identical view", output_name,
              input_name);
    return EQUINV_OK;
}

bool eqi_is_contiguous(const equinv_tensor *tensor)
{
    int64_t expected = 1;
    for (int32_t i = tensor->ndim - 1; i >= 0; i--) {
        if (tensor->shape[i] != 1 && tensor->strides[i] != expected)
            return false;
        expected *= tensor->shape[i];
    }
    return true;
}

equinv_status eqi_tensor_pack(const equinv_context *ctx, const equinv_tensor *tensor,
                              equinv_tensor *packed, equinv_tensor *owned)
{
    equinv_context *const own = (equinv_context *)ctx; /* tensors are made from the caller's */
    const equinv_tensor from = *tensor;
    *packed = from;
    if (eqi_is_contiguous(&from))
        return EQUINV_OK;
    EQI_TRY(equinv_tensor_create(own, from.dtype, from.ndim, from.shape, owned));
    *packed = *owned;
    return equinv_tensor_convert(own, &from, 1, 0, packed);
}

int64_t eqi_offset_of(const equinv_tensor *tensor, int64_t index)
{
    int64_t offset = 0;
    for (int32_t i = tensor->ndim - 1; i > 0; i--) {
        offset += index % tensor->shape[i] * tensor->strides[i];
        index /= tensor->shape[i];
    }
    return tensor->ndim > 0 ? offset + index * tensor->strides[0] : 0;
}

equinv_tensor eqi_joined(const equinv_tensor *tensor)
{
    equinv_tensor view = *tensor;
    view.ndim = 0;
    for (int32_t i = 0; i < tensor->ndim; i++) {
        const int64_t size = tensor->shape[i], stride = tensor->strides[i];
        int32_t last = view.ndim - 1;
        if (size == 0)
            return *tensor; /* the other extents' product may overflow */
        if (size == 1)
            continue;
        if (last < 0 || view.strides[last] != stride * size) {
            last = view.ndim++;
            view.shape[last] = 1;
        }
        view.shape[last] *= size;
        view.strides[last] = stride;
    }
    return view;
}

static void row_major(equinv_tensor *tensor)
{
    int64_t stride = 1;
    for (int32_t i = tensor->ndim - 1; i >= 0; i--) {
        tensor->strides[i] = stride;
        stride *= tensor->shape[i] > 0 ? tensor->shape[i] : 1;
    }
}

/* A row-major tensor without memory, and its size in bytes. */
static equinv_status describe(equinv_dtype dtype, int32_t ndim, const int64_t *shape,
                              equinv_tensor *tensor, int64_t *bytes)
{
    EQI_CHECK(tensor, ARG, "tensor is NULL, expected where to put the view");
    EQI_CHECK(shape || ndim == 0, ARG, "shape is NULL, expected %" PRId32 " extents", ndim);
    EQI_CHECK(dtype_row(dtype) >= 0, DTYPE,
              "dtype is 0x%x, expected f32, f64, i32, u8, u32 or bf16", (unsigned)dtype);
    EQI_TRY(check_axes(ndim, shape, "tensor"));
    int64_t factors[EQUINV_MAX_DIMS + 1];
    for (int32_t i = 0; i < ndim; i++)
        factors[i] = shape[i];
    factors[ndim] = (int64_t)equinv_dtype_size(dtype);
    EQI_TRY(eqi_product_of("tensor", ndim + 1, factors, bytes));
    equinv_tensor t = {.device = {EQUINV_DEVICE_CPU, 0}, .dtype = dtype, .ndim = ndim};
    for (int32_t i = 0; i < ndim; i++)
        t.shape[i] = shape[i];
    if (*bytes > 0) /* an empty tensor may have extents whose product would overflow */
        row_major(&t);
    *tensor = t;
    return EQUINV_OK;
}

equinv_status equinv_tensor_init(void *data, equinv_dtype dtype, int32_t ndim, const int64_t *shape,
                                 equinv_tensor *tensor)
{
    equinv_tensor t;
    int64_t bytes;
    EQI_CHECK(tensor, ARG, "tensor is NULL, expected where to put the view");
    EQI_TRY(describe(dtype, ndim, shape, &t, &bytes));
    EQI_CHECK(data || bytes == 0, ARG, "data is NULL, expected %" PRId64 " bytes", bytes);
    t.data = data;
    *tensor = t;
    return EQUINV_OK;
}

equinv_status equinv_tensor_create(equinv_context *ctx, equinv_dtype dtype, int32_t ndim,
                                   const int64_t *shape, equinv_tensor *tensor)
{
    equinv_tensor t;
    int64_t bytes;
    EQI_CHECK(ctx, ARG, "ctx is NULL, expected a context");
    EQI_CHECK(tensor, ARG, "tensor is NULL, expected where to put the tensor");
    EQI_TRY(describe(dtype, ndim, shape, &t, &bytes));
    EQI_TRY(eqi_device_alloc_zeroed(ctx, bytes, 1, "a tensor", &t.data));
    t.device = ctx->device;
    *tensor = t;
    return EQUINV_OK;
}

equinv_status equinv_tensor_create_pinned(equinv_context *ctx, equinv_dtype dtype, int32_t ndim,
                                          const int64_t *shape, equinv_tensor *tensor)
{
    equinv_tensor t;
    int64_t bytes;
    EQI_CHECK(ctx, ARG, "ctx is NULL, expected a context");
    EQI_CHECK(tensor, ARG, "tensor is NULL, expected where to put the tensor");
    if (!ctx->backend->device)
        return equinv_tensor_create(ctx, dtype, ndim, shape, tensor);
    EQI_TRY(describe(dtype, ndim, shape, &t, &bytes));
    t.data = ctx->backend->device->alloc_pinned(ctx, bytes ? (size_t)bytes : 1);
    EQI_CHECK(t.data, NOMEM, "out of memory: a tensor needs %" PRId64 " bytes of pinned memory",
              bytes);
    memset(t.data, 0, (size_t)bytes);
    *tensor = t;
    return EQUINV_OK;
}

void equinv_tensor_destroy(equinv_context *ctx, equinv_tensor *tensor)
{
    if (!ctx || !tensor || !tensor->data)
        return;
    const size_t size = (size_t)equinv_tensor_count(tensor) * equinv_dtype_size(tensor->dtype);
    if (ctx->backend->device && tensor->device.kind == EQUINV_DEVICE_CPU)
        ctx->backend->device->free_pinned(ctx, tensor->data);
    else
        eqi_device_free(ctx, tensor->data, size);
    memset(tensor, 0, sizeof *tensor);
}

int64_t equinv_tensor_count(const equinv_tensor *tensor)
{
    int64_t count;
    if (!tensor || tensor->ndim < 0 || tensor->ndim > EQUINV_MAX_DIMS)
        return -1;
    for (int32_t i = 0; i < tensor->ndim; i++)
        if (tensor->shape[i] < 0)
            return -1;
    return eqi_product_of("tensor", tensor->ndim, tensor->shape, &count) == EQUINV_OK ? count : -1;
}

equinv_status equinv_tensor_rows(const equinv_tensor *tensor, int64_t first, int64_t count,
                                 equinv_tensor *rows)
{
    EQI_TRY(check_struct(tensor, "tensor"));
    EQI_CHECK(rows, ARG, "rows is NULL, expected where to put the view");
    EQI_CHECK(tensor->ndim >= 1, SHAPE, "tensor has no axis, expected at least 1");
    EQI_CHECK(first >= 0 && count >= 0 && first <= tensor->shape[0] &&
                  count <= tensor->shape[0] - first,
              ARG, "rows %" PRId64 " .. +%" PRId64 " asked for, expected them within 0 .. %" PRId64,
              first, count, tensor->shape[0]);
    equinv_tensor view = *tensor;
    view.shape[0] = count;
    if (count > 0 && view.data)
        view.data =
            (char *)view.data + first * view.strides[0] * (int64_t)equinv_dtype_size(view.dtype);
    *rows = view;
    return EQUINV_OK;
}

/* [N, D] and [N, F, G] get trailing axes of one pixel. */
equinv_status equinv_tensor_as_fields(const equinv_tensor *tensor, int64_t order,
                                      equinv_tensor *fields)
{
    EQI_TRY(check_struct(tensor, "tensor"));
    EQI_CHECK(fields, ARG, "fields is NULL, expected where to put the view");
    EQI_CHECK(order >= 1, ARG, "order is %" PRId64 ", expected at least 1", order);
    equinv_tensor map = *tensor;
    char has[128];
    if (tensor->ndim == 3) {
        map.ndim = 5;
        map.shape[3] = map.shape[4] = map.strides[3] = map.strides[4] = 1;
    } else if (tensor->ndim == 2 || tensor->ndim == 4) {
        EQI_CHECK(tensor->shape[1] % order == 0, SHAPE,
                  "tensor has %" PRId64
                  " channels, expected a multiple of the group order %" PRId64,
                  tensor->shape[1], order);
        map = split_channels(tensor, order);
    }
    EQI_CHECK(map.ndim == 5 && map.shape[2] == order, SHAPE,
              "tensor has shape %s, expected [N, F, %" PRId64 ", H, W], [N, F * %" PRId64
              ", H, W], [N, F, %" PRId64 "] or [N, D]",
              eqi_shape_text(tensor->ndim, tensor->shape, has, sizeof has), order, order, order);
    *fields = map;
    return EQUINV_OK;
}

equinv_status equinv_tensor_convert(equinv_context *ctx, const equinv_tensor *src, double scale,
                                    double shift, const equinv_tensor *dst)
{
    EQI_CHECK(ctx, ARG, "ctx is NULL, expected a context");
    EQI_TRY(eqi_check_tensor(ctx, src, "src", EQI_ANY));
    EQI_TRY(eqi_check_output(ctx, dst, "dst", EQI_ANY));
    EQI_TRY(eqi_check_same_shape(dst, "dst", src, "src"));
    EQI_TRY(eqi_check_disjoint_or_same(dst, "dst", src, "src"));
    return ctx->backend->convert(ctx, src, scale, shift, dst);
}

equinv_status equinv_tensor_copy(equinv_context *ctx, const equinv_tensor *src,
                                 const equinv_tensor *dst)
{
    EQI_CHECK(ctx, ARG, "ctx is NULL, expected a context");
    EQI_TRY(eqi_check_anywhere(ctx, src, "src", EQI_ANY));
    EQI_TRY(eqi_check_output_anywhere(ctx, dst, "dst", EQI_ANY));
    EQI_TRY(eqi_check_dtype(dst, "dst", src->dtype));
    EQI_TRY(eqi_check_same_shape(dst, "dst", src, "src"));
    EQI_TRY(eqi_check_disjoint(dst, "dst", src, "src"));
    const size_t size = (size_t)equinv_tensor_count(src) * equinv_dtype_size(src->dtype);
    if (size == 0)
        return EQUINV_OK;
    const bool plain = eqi_is_contiguous(src) && eqi_is_contiguous(dst);
    if (!plain && src->device.kind == dst->device.kind)
        return src->device.kind == EQUINV_DEVICE_CPU ? eqi_cpu_backend.convert(ctx, src, 1, 0, dst)
                                                     : ctx->backend->convert(ctx, src, 1, 0, dst);
    EQI_CHECK(plain, UNSUPPORTED,
              "src or dst has gaps or another order than row-major, expected both row-major in a "
              "copy between CPU memory and a device");
    return eqi_device_copy(ctx, dst->data, src->data, size);
}
