/* Tensors on the device: memory, copies in every direction, and arguments in the wrong place. */
#include <unistd.h>

#include "tests/util/cuda_cases.h"

static const equinv_dtype dtypes[] = {EQUINV_F32, EQUINV_F64, EQUINV_I32, EQUINV_U32, EQUINV_U8};
enum { DTYPES = sizeof dtypes / sizeof *dtypes };

/* A CPU tensor in the caller's own memory; free its data. */
static equinv_tensor pageable(rng *r, equinv_dtype dtype, int64_t rows, int64_t columns)
{
    const int64_t shape[] = {rows, columns};
    equinv_tensor t;
    void *const data = calloc((size_t)(rows * columns) + 1, equinv_dtype_size(dtype));
    ck_assert_ptr_nonnull(data);
    OK(equinv_tensor_init(data, dtype, 2, shape, &t));
    tensor_fill_random(r, &t);
    return t;
}

START_TEST(tensors_are_zeroed_and_aligned)
{
    equinv_context *const ctx = cuda_context_new();
    const int64_t counts[] = {0, 1, 3, 64, 1000, 70001};
    for (int d = 0; d < DTYPES; d++)
        for (size_t i = 0; i < sizeof counts / sizeof *counts; i++) {
            equinv_tensor t;
            OK(equinv_tensor_create(ctx, dtypes[d], 1, &counts[i], &t));
            ck_assert_int_eq(t.device.kind, EQUINV_DEVICE_CUDA);
            ck_assert_int_eq(t.device.index, 0);
            ck_assert((uintptr_t)t.data % 256 == 0);
            equinv_tensor back = cuda_back(ctx, &t);
            for (int64_t k = 0; k < counts[i]; k++)
                ck_assert(tensor_get(&back, k) == 0);
            equinv_tensor_destroy(ctx, &back);
            equinv_tensor_destroy(ctx, &t);
            ck_assert_ptr_null(t.data);
            equinv_tensor_destroy(ctx, &t);
        }
    equinv_context_destroy(ctx);
}
END_TEST

START_TEST(more_than_there_is)
{
    equinv_context *const ctx = cuda_context_new();
    const int64_t count = INT64_C(1) << 50, few = 5;
    equinv_tensor t = {0};
    FAILS(EQUINV_ERR_NOMEM, "out of memory: a tensor needs ",
          equinv_tensor_create(ctx, EQUINV_U8, 1, &count, &t));
    ck_assert_ptr_null(t.data);
    FAILS(EQUINV_ERR_NOMEM, "out of memory",
          equinv_tensor_create_pinned(ctx, EQUINV_U8, 1, &count, &t));
    OK(equinv_context_synchronize(ctx));
    OK(equinv_tensor_create(ctx, EQUINV_F32, 1, &few, &t));
    OK(equinv_relu_forward(ctx, 0, &t, &t));
    OK(equinv_context_synchronize(ctx));
    equinv_tensor_destroy(ctx, &t);
    equinv_context_destroy(ctx);
}
END_TEST

START_TEST(pinned_tensors)
{
    equinv_context *const ctx = cuda_context_new();
    const int64_t shape[] = {3, 5};
    equinv_tensor t;
    OK(equinv_tensor_create_pinned(ctx, EQUINV_F64, 2, shape, &t));
    ck_assert_int_eq(t.device.kind, EQUINV_DEVICE_CPU);
    ck_assert((uintptr_t)t.data % 64 == 0);
    for (int64_t k = 0; k < 15; k++)
        ck_assert(tensor_get(&t, k) == 0);
    equinv_tensor_destroy(ctx, &t);
    ck_assert_ptr_null(t.data);
    equinv_context_destroy(ctx);
}
END_TEST

START_TEST(copies_in_every_direction)
{
    equinv_context *const ctx = cuda_context_new();
    rng r = {5};
    for (int d = 0; d < DTYPES; d++)
        for (int64_t rows = 0; rows < 40; rows += 13) {
            equinv_tensor from = pageable(&r, dtypes[d], rows, 7), there, other;
            equinv_tensor to = pageable(&r, dtypes[d], rows, 7), pinned[2];
            OK(equinv_tensor_create(ctx, dtypes[d], 2, from.shape, &there));
            OK(equinv_tensor_create(ctx, dtypes[d], 2, from.shape, &other));
            for (int i = 0; i < 2; i++)
                OK(equinv_tensor_create_pinned(ctx, dtypes[d], 2, from.shape, &pinned[i]));
            const equinv_tensor *const way[] = {&from,      &pinned[0], &there, &other,
                                                &pinned[1], &other,     &to};
            for (size_t i = 1; i < sizeof way / sizeof *way; i++)
                OK(equinv_tensor_copy(ctx, way[i - 1], way[i]));
            OK(equinv_context_synchronize(ctx));
            ASSERT_SAME(&from, &to);
            for (int i = 0; i < 2; i++)
                equinv_tensor_destroy(ctx, &pinned[i]);
            equinv_tensor_destroy(ctx, &other);
            equinv_tensor_destroy(ctx, &there);
            free(from.data);
            free(to.data);
        }
    equinv_context_destroy(ctx);
}
END_TEST

START_TEST(copies_of_strided_tensors)
{
    equinv_context *const ctx = cuda_context_new(), *const cpu = context_new();
    rng r = {6};
    equinv_tensor values = tensor_random(cpu, &r, EQUINV_F32, 3, 3, 4, 5), here, there, there_too;
    const equinv_tensor strided = tensor_strided_copy(cpu, &r, &values, &here);
    const equinv_tensor on_device = cuda_strided_copy(ctx, &r, &values, &there);
    OK(equinv_tensor_create(ctx, EQUINV_F32, 3, values.shape, &there_too));
    FAILS(EQUINV_ERR_UNSUPPORTED, "row-major", equinv_tensor_copy(ctx, &strided, &there_too));
    FAILS(EQUINV_ERR_UNSUPPORTED, "row-major", equinv_tensor_copy(ctx, &values, &on_device));
    FAILS(EQUINV_ERR_UNSUPPORTED, "row-major", equinv_tensor_copy(ctx, &on_device, &values));
    equinv_tensor row_major = tensor_like(cpu, &values);
    OK(equinv_tensor_copy(ctx, &strided, &row_major)); /* within the CPU's memory */
    OK(equinv_context_synchronize(ctx));
    ASSERT_SAME(&values, &row_major);
    OK(equinv_tensor_copy(ctx, &on_device, &there_too)); /* within the device's */
    equinv_tensor back = cuda_back(ctx, &there_too);
    ASSERT_SAME(&values, &back);
    equinv_tensor_destroy(ctx, &back);
    equinv_tensor_destroy(cpu, &row_major);
    equinv_tensor_destroy(ctx, &there_too);
    equinv_tensor_destroy(ctx, &there);
    equinv_tensor_destroy(cpu, &here);
    equinv_tensor_destroy(cpu, &values);
    equinv_context_destroy(cpu);
    equinv_context_destroy(ctx);
}
END_TEST

/* ---- arguments in the wrong place --------------------------------------------------------------- */

typedef void (*spoil)(equinv_tensor *t, void *cpu_memory);

static void call_it_cpu(equinv_tensor *t, void *cpu_memory)
{
    (void)cpu_memory;
    t->device = (equinv_device){EQUINV_DEVICE_CPU, 0};
}

static void another_device(equinv_tensor *t, void *cpu_memory)
{
    (void)cpu_memory;
    t->device.index = 1;
}

static void into_cpu_memory(equinv_tensor *t, void *cpu_memory)
{
    t->data = cpu_memory;
}

/* Every tensor of every operation: DEVICE, or it is none of this operation's arguments. */
START_TEST(tensors_in_the_wrong_place)
{
    static const struct {
        spoil how;
        const char *word;
    } ways[] = {{call_it_cpu, "expected cuda:0"},
                {another_device, "expected cuda:0"},
                {into_cpu_memory, "in CPU memory, expected memory of cuda:0"}};
    enum { ENOUGH = 1 << 16 };
    equinv_context *const ctx = cuda_context_new();
    char *const memory = aligned_alloc(256, ENOUGH);
    ck_assert_ptr_nonnull(memory);
    for (int i = 0; i < cuda_operation_count; i++) {
        const cuda_operation *const operation = &cuda_operations[i];
        if (operation->kept)
            continue;
        cuda_case c = cuda_case_new(ctx, i, EQUINV_F32, false);
        int refused = 0;
        for (int k = 0; k < c.tensors; k++) {
            /* Models and copies take images in CPU memory too. */
            const bool anywhere = strncmp(operation->name, "model", 5) == 0 ||
                                  strncmp(operation->name, "copy", 4) == 0;
            if (c.tensor[k].data == NULL)
                continue;
            for (size_t w = anywhere ? 1 : 0; w < sizeof ways / sizeof *ways; w++) {
                const equinv_tensor right = c.tensor[k];
                ways[w].how(&c.tensor[k], memory);
                const equinv_status status = cuda_case_enqueue(&c);
                c.tensor[k] = right;
                if (status == EQUINV_OK)
                    continue;
                refused++;
                ck_assert_msg(status == EQUINV_ERR_DEVICE &&
                                  strstr(equinv_last_error(), ways[w].word),
                              "%s, tensor %d, way %zu: %s: %s", operation->name, k, w,
                              equinv_status_name(status), equinv_last_error());
            }
        }
        ck_assert_msg(refused > 0, "%s takes anything", operation->name);
        OK(equinv_context_synchronize(ctx));
        cuda_case_run(&c);
        cuda_case_destroy(&c);
    }
    free(memory);
    equinv_context_destroy(ctx);
}
END_TEST

/* The first case whose plan needs scratch, or saves something. */
static cuda_case case_with(equinv_context *ctx, bool scratch)
{
    for (int i = 0; i < cuda_operation_count; i++) {
        cuda_case c = cuda_case_new(ctx, i, EQUINV_F32, true);
        if (scratch ? c.scratch.data : c.saved.data)
            return c;
        cuda_case_destroy(&c);
    }
    ck_abort_msg("no operation has %s", scratch ? "scratch" : "saved");
    return (cuda_case){0};
}

START_TEST(scratch_and_saved_in_the_wrong_place)
{
    equinv_context *const ctx = cuda_context_new();
    cuda_case c = case_with(ctx, _i == 0);
    const char *const name = _i == 0 ? "scratch" : "saved";
    equinv_tensor *const buffer = _i == 0 ? &c.scratch : &c.saved;
    const equinv_tensor right = *buffer;
    char *const memory = aligned_alloc(256, (size_t)(right.shape[0] + 255) / 256 * 256);
    ck_assert_ptr_nonnull(memory);
    buffer->data = (char *)right.data + 64;
    FAILS(EQUINV_ERR_SCRATCH, "expected an address aligned to 256", cuda_case_enqueue(&c));
    ck_assert_ptr_nonnull(strstr(equinv_last_error(), name));
    buffer->data = memory;
    FAILS(EQUINV_ERR_DEVICE, "in CPU memory, expected memory of cuda:0", cuda_case_enqueue(&c));
    *buffer = right;
    buffer->shape[0] = 1;
    FAILS(EQUINV_ERR_SCRATCH, "_size is 1, expected at least", cuda_case_enqueue(&c));
    *buffer = right;
    cuda_case_run(&c);
    cuda_case_destroy(&c);
    free(memory);
    equinv_context_destroy(ctx);
}
END_TEST

/* ---- two devices ----------------------------------------------------------------------------------- */

static equinv_context *context_on(int device)
{
    equinv_context_desc desc = EQUINV_CONTEXT_DESC_INIT;
    equinv_context *ctx = NULL;
    desc.device = EQUINV_DEVICE_CUDA;
    desc.device_index = device;
    desc.threads = 1;
    return equinv_context_create(&desc, &ctx) == EQUINV_OK ? ctx : NULL;
}

/* Contexts on both; with one GPU false, and nothing is made. */
static bool two_contexts(equinv_context *ctx[2])
{
    setenv("EQI_CUDA_HOST_DEVICES", "2", 1);
    ctx[1] = context_on(1);
    if (ctx[1])
        ctx[0] = context_on(0);
    return ctx[1] != NULL;
}

static void two_contexts_free(equinv_context *ctx[2])
{
    equinv_context_destroy(ctx[0]);
    equinv_context_destroy(ctx[1]);
    unsetenv("EQI_CUDA_HOST_DEVICES");
}

START_TEST(both_devices_at_once)
{
    equinv_context *ctx[2];
    if (!two_contexts(ctx)) {
        SKIP("%s", equinv_last_error());
        return;
    }
    for (int i = 0; i < cuda_operation_count; i++) {
        cuda_case c[2];
        for (int k = 0; k < 2; k++)
            c[k] = cuda_case_new(ctx[k], i, EQUINV_F32, false);
        cuda_case_run(&c[0]);
        ck_assert_int_eq(c[1].tensor[0].device.index, 1);
        cuda_case_run(&c[1]);
        cuda_case_assert_same(&c[0], &c[1]);
        cuda_case_destroy(&c[0]);
        cuda_case_destroy(&c[1]);
    }
    two_contexts_free(ctx);
}
END_TEST

START_TEST(memory_and_streams_of_another_device)
{
    equinv_context *ctx[2];
    if (!two_contexts(ctx)) {
        SKIP("%s", equinv_last_error());
        return;
    }
    void *stream[2] = {stream_new(0), stream_new(1)};
    const int64_t count = 9;
    equinv_tensor t[2];
    for (int i = 0; i < 2; i++)
        OK(equinv_tensor_create(ctx[i], EQUINV_F32, 1, &count, &t[i]));
    FAILS(EQUINV_ERR_DEVICE, "on device cuda:1, expected cuda:0",
          equinv_relu_forward(ctx[0], 0, &t[1], &t[0]));
    FAILS(EQUINV_ERR_DEVICE, "on device cuda:0, expected cuda:1",
          equinv_relu_forward(ctx[1], 0, &t[1], &t[0]));
    equinv_tensor lie = t[1];
    lie.device.index = 0;
    FAILS(EQUINV_ERR_DEVICE, "has data on cuda:1, expected cuda:0",
          equinv_relu_forward(ctx[0], 0, &lie, &t[0]));
    FAILS(EQUINV_ERR_DEVICE, "stream is of cuda:1, expected one of cuda:0",
          equinv_context_set_stream(ctx[0], stream[1]));
    for (int i = 0; i < 2; i++) {
        OK(equinv_context_set_stream(ctx[i], stream[i]));
        OK(equinv_relu_forward(ctx[i], 0, &t[i], &t[i]));
        OK(equinv_context_synchronize(ctx[i]));
        equinv_tensor_destroy(ctx[i], &t[i]);
    }
    two_contexts_free(ctx);
    stream_destroy(stream[0]);
    stream_destroy(stream[1]);
}
END_TEST

int main(void)
{
    const test_entry tests[] = {
        {tensors_are_zeroed_and_aligned, 1},
        {more_than_there_is, 1},
        {pinned_tensors, 1},
        {copies_in_every_direction, 1},
        {copies_of_strided_tensors, 1},
        {tensors_in_the_wrong_place, 1},
        {scratch_and_saved_in_the_wrong_place, 2},
        {both_devices_at_once, 1},
        {memory_and_streams_of_another_device, 1},
    };
    return run_cuda_tests("cuda/device", tests, sizeof tests / sizeof *tests);
}
