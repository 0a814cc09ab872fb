/*
 * What goes wrong on a device: no memory at any place where some is asked for, launches that are refused,
 * and errors after which the device is lost. Only the host's plugin can be made to do that.
 */
#include "tests/util/cuda_cases.h"

enum { ILLEGAL_ADDRESS = 700, LAUNCH_OUT_OF_RESOURCES = 701 };

static void fail_allocations_after(int64_t n)
{
    CUDA_HOST(void, eqi_host_fail_allocations_after, int64_t n);
    eqi_host_fail_allocations_after(n);
}

static void inject_error(int error, int after_launches, bool sticky)
{
    CUDA_HOST(void, eqi_host_inject_error, int error, int after_launches, bool sticky);
    eqi_host_inject_error(error, after_launches, sticky);
}

typedef struct held {
    size_t bytes;
    int64_t objects;
} held;

static held held_now(void)
{
    CUDA_HOST(size_t, eqi_host_memory_in_use, void);
    CUDA_HOST(int64_t, eqi_host_objects, void);
    return (held){eqi_host_memory_in_use(), eqi_host_objects()};
}

static void assert_nothing_left(held before, const char *what)
{
    const held now = held_now();
    ck_assert_msg(now.bytes == before.bytes && now.objects == before.objects,
                  "%s leaves %lld bytes and %lld objects", what,
                  (long long)now.bytes - (long long)before.bytes,
                  (long long)(now.objects - before.objects));
}

START_TEST(no_memory_for_a_context)
{
    equinv_context_desc desc = EQUINV_CONTEXT_DESC_INIT;
    const held before = held_now();
    desc.device = EQUINV_DEVICE_CUDA;
    int failures = 0;
    for (equinv_status status = EQUINV_ERR_NOMEM; status != EQUINV_OK; failures++) {
        equinv_context *ctx = NULL;
        fail_allocations_after(failures);
        status = equinv_context_create(&desc, &ctx);
        fail_allocations_after(-1);
        if (status != EQUINV_OK)
            FAILS(EQUINV_ERR_NOMEM, "out of device memory", status);
        equinv_context_destroy(ctx);
        assert_nothing_left(before, "a context without memory");
    }
    ck_assert(failures > 1);
}
END_TEST

/* The n-th allocation fails: NOMEM and no trace, and the same context then does the operation. */
static equinv_status create_without_memory(int operation, int64_t n)
{
    equinv_context *const ctx = cuda_context_new();
    cuda_case c;
    fail_allocations_after(n);
    const equinv_status status =
        cuda_case_create(ctx, &cuda_operations[operation], EQUINV_F32, true, &c);
    fail_allocations_after(-1);
    ck_assert_msg(status == EQUINV_OK ||
                      (status == EQUINV_ERR_NOMEM && strstr(equinv_last_error(), "memory")),
                  "%s, allocation %lld: %s: %s", cuda_operations[operation].name, (long long)n,
                  equinv_status_name(status), equinv_last_error());
    cuda_case_destroy(&c);
    if (status == EQUINV_ERR_NOMEM) {
        c = cuda_case_new(ctx, operation, EQUINV_F32, true);
        cuda_case_run(&c);
        cuda_case_destroy(&c);
    }
    equinv_context_destroy(ctx);
    return status;
}

START_TEST(no_memory_for_an_operation)
{
    for (int i = 0; i < cuda_operation_count; i++) {
        const cuda_operation *const operation = &cuda_operations[i];
        const held before = held_now();
        equinv_status status = EQUINV_ERR_NOMEM;
        for (int64_t n = 0; status == EQUINV_ERR_NOMEM; n++) {
            status = create_without_memory(i, n);
            assert_nothing_left(before, operation->name);
            ck_assert_msg(status != EQUINV_OK || n > 0, "%s asks for no memory", operation->name);
        }
    }
}
END_TEST

static equinv_tensor new_tensor(equinv_context *ctx)
{
    const int64_t count = 100;
    equinv_tensor t;
    OK(equinv_tensor_create(ctx, EQUINV_F32, 1, &count, &t));
    OK(equinv_context_synchronize(ctx));
    return t;
}

START_TEST(a_launch_is_refused)
{
    equinv_context *const ctx = cuda_context_new();
    equinv_tensor t = new_tensor(ctx);
    inject_error(LAUNCH_OUT_OF_RESOURCES, 0, false);
    FAILS(EQUINV_ERR_BACKEND, "CUDA says cudaErrorLaunchOutOfResources",
          equinv_relu_forward(ctx, 0, &t, &t));
    ck_assert_ptr_nonnull(strstr(equinv_last_error(), "eqi_")); /* the kernel */
    OK(equinv_context_synchronize(ctx));                        /* told once */
    OK(equinv_relu_forward(ctx, 0, &t, &t));
    OK(equinv_context_synchronize(ctx));
    equinv_tensor_destroy(ctx, &t);
    equinv_context_destroy(ctx);
}
END_TEST

/* Every operation passes a refused launch on, whichever of its launches that is. */
START_TEST(no_operation_hides_a_refused_launch)
{
    CUDA_HOST(int64_t, eqi_host_launches, void);
    equinv_context *const ctx = cuda_context_new();
    for (int i = 0; i < cuda_operation_count; i++) {
        cuda_case c = cuda_case_new(ctx, i, EQUINV_F32, false);
        const int64_t before = eqi_host_launches();
        cuda_case_run(&c);
        const int64_t launches = eqi_host_launches() - before;
        for (int n = 0; n < launches; n++) {
            inject_error(LAUNCH_OUT_OF_RESOURCES, n, false);
            const equinv_status status = cuda_case_enqueue(&c);
            inject_error(0, 0, false);
            ck_assert_msg(status == EQUINV_ERR_BACKEND, "%s hides that launch %d was refused",
                          c.operation->name, n);
        }
        OK(equinv_context_synchronize(ctx));
        cuda_case_destroy(&c);
    }
    equinv_context_destroy(ctx);
}
END_TEST

START_TEST(the_device_is_lost)
{
    equinv_context *const ctx = cuda_context_new(), *const other = cuda_context_new();
    equinv_tensor t = new_tensor(ctx), u = new_tensor(other);
    const held before = held_now();
    inject_error(ILLEGAL_ADDRESS, 0, true);
    OK(equinv_relu_forward(ctx, 0, &t, &t)); /* enqueued */
    FAILS(EQUINV_ERR_BACKEND, "cudaErrorIllegalAddress", equinv_context_synchronize(ctx));
    ck_assert_ptr_nonnull(strstr(equinv_last_error(), "in work that was enqueued before"));

    /* From here on every call says so. */
    const int64_t count = 10;
    equinv_tensor more = {0};
    FAILS(EQUINV_ERR_BACKEND, "cudaErrorIllegalAddress", equinv_relu_forward(ctx, 0, &t, &t));
    ck_assert_ptr_nonnull(strstr(equinv_last_error(), "src is: work that was enqueued before"));
    FAILS(EQUINV_ERR_BACKEND, "cudaErrorIllegalAddress", equinv_relu_forward(other, 0, &u, &u));
    FAILS(EQUINV_ERR_BACKEND, "cudaErrorIllegalAddress", equinv_context_synchronize(ctx));
    ck_assert(equinv_tensor_create(ctx, EQUINV_F32, 1, &count, &more) != EQUINV_OK);
    ck_assert_ptr_null(more.data);
    equinv_context_desc desc = EQUINV_CONTEXT_DESC_INIT;
    equinv_context *late = NULL;
    desc.device = EQUINV_DEVICE_CUDA;
    FAILS(EQUINV_ERR_NO_BACKEND, "cudaErrorIllegalAddress", equinv_context_create(&desc, &late));
    equinv_tensor_destroy(ctx, &t);
    equinv_context_destroy(ctx);

    inject_error(0, 0, false); /* as in a new process */
    equinv_context *const fresh = cuda_context_new();
    equinv_tensor v = new_tensor(fresh);
    OK(equinv_relu_forward(fresh, 0, &v, &v));
    OK(equinv_context_synchronize(fresh));
    equinv_tensor_destroy(fresh, &v);
    equinv_context_destroy(fresh);
    equinv_tensor_destroy(other, &u);
    equinv_context_destroy(other);
    ck_assert(held_now().bytes < before.bytes);
}
END_TEST

int main(void)
{
    const test_entry tests[] = {
        {no_memory_for_a_context, 1}, {no_memory_for_an_operation, 1},
        {a_launch_is_refused, 1},     {no_operation_hides_a_refused_launch, 1},
        {the_device_is_lost, 1},
    };
    if (!cuda_host()) {
        printf("SKIP cuda/faults: EQUINV_BACKEND_PATH does not name the host's plugin\n");
        return 77;
    }
    return run_cuda_tests("cuda/faults", tests, sizeof tests / sizeof *tests);
}
