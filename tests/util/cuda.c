#include "tests/util/cuda.h"

#include <sys/wait.h>
#include <unistd.h>

static equinv_status create(equinv_context **ctx)
{
    equinv_context_desc desc = EQUINV_CONTEXT_DESC_INIT;
    desc.device = EQUINV_DEVICE_CUDA;
    desc.threads = 2;
    return equinv_context_create(&desc, ctx);
}

static bool has_device(const char *suite)
{
    fflush(stdout);
    const pid_t child = fork();
    if (child == 0) {
        equinv_context *ctx = NULL;
        const equinv_status status = create(&ctx);
        if (status != EQUINV_OK)
            printf("SKIP %s: %s\n", suite, equinv_last_error());
        equinv_context_destroy(ctx);
        fflush(stdout);
        _exit(status == EQUINV_OK ? 0 : 1);
    }
    int status = 1;
    return child > 0 && waitpid(child, &status, 0) == child && WIFEXITED(status) &&
           WEXITSTATUS(status) == 0;
}

int run_cuda_tests(const char *suite, const test_entry *tests, size_t count)
{
    return has_device(suite) ? run_tests(suite, tests, count) : 77;
}

equinv_context *cuda_context_new(void)
{
    equinv_context *ctx = NULL;
    OK(create(&ctx));
    return ctx;
}

static equinv_tensor pinned_like(equinv_context *ctx, const equinv_tensor *t)
{
    equinv_tensor made;
    OK(equinv_tensor_create_pinned(ctx, t->dtype, t->ndim, t->shape, &made));
    return made;
}

/* Values by row-major number, whatever the strides. */
static void copy_values(const equinv_tensor *from, const equinv_tensor *to)
{
    const int64_t count = equinv_tensor_count(from);
    for (int64_t i = 0; i < count; i++)
        tensor_set(to, i, tensor_get(from, i));
}

equinv_tensor cuda_copy(equinv_context *ctx, const equinv_tensor *t)
{
    equinv_tensor here = pinned_like(ctx, t), there;
    copy_values(t, &here);
    OK(equinv_tensor_create(ctx, t->dtype, t->ndim, t->shape, &there));
    OK(equinv_tensor_copy(ctx, &here, &there));
    OK(equinv_context_synchronize(ctx));
    equinv_tensor_destroy(ctx, &here);
    return there;
}

/* For a moment's work: without threads, which would spin longer than the work takes. */
static equinv_context *cpu_context(void)
{
    equinv_context_desc desc = EQUINV_CONTEXT_DESC_INIT;
    equinv_context *ctx = NULL;
    desc.device = EQUINV_DEVICE_CPU;
    desc.threads = 1;
    OK(equinv_context_create(&desc, &ctx));
    return ctx;
}

equinv_tensor cuda_strided_copy(equinv_context *ctx, rng *r, const equinv_tensor *t,
                                equinv_tensor *storage)
{
    equinv_context *const cpu = cpu_context();
    equinv_tensor memory, view = tensor_strided_copy(cpu, r, t, &memory);
    *storage = cuda_copy(ctx, &memory);
    view.data = storage->data;
    view.device = storage->device;
    equinv_tensor_destroy(cpu, &memory);
    equinv_context_destroy(cpu);
    return view;
}

/* First and last element that the tensor reaches. */
static void reach(const equinv_tensor *t, int64_t *first, int64_t *last)
{
    *first = *last = 0;
    for (int32_t i = 0; i < t->ndim; i++) {
        const int64_t span = (t->shape[i] - 1) * t->strides[i];
        *(span < 0 ? first : last) += span;
    }
}

equinv_tensor cuda_back(equinv_context *ctx, const equinv_tensor *t)
{
    equinv_tensor back = pinned_like(ctx, t);
    if (equinv_tensor_count(t) == 0)
        return back;
    int64_t first, last;
    reach(t, &first, &last);
    const int64_t size = (int64_t)equinv_dtype_size(t->dtype), count = last - first + 1;
    equinv_tensor line, here;
    OK(equinv_tensor_init((char *)t->data + first * size, t->dtype, 1, &count, &line));
    line.device = t->device;
    here = pinned_like(ctx, &line);
    OK(equinv_tensor_copy(ctx, &line, &here));
    OK(equinv_context_synchronize(ctx));
    equinv_tensor view = *t;
    view.data = (char *)here.data - first * size;
    view.device = here.device;
    copy_values(&view, &back);
    equinv_tensor_destroy(ctx, &here);
    return back;
}

/* `here` in CPU memory, and all of its storage on the device. */
static cuda_laid laid_on_device(equinv_context *ctx, laid here)
{
    cuda_laid l = {.here = here, .view = here.view, .storage = cuda_copy(ctx, &here.storage)};
    const int64_t start = (char *)here.view.data - (char *)here.storage.data;
    l.view.data = (char *)l.storage.data + start;
    l.view.device = l.storage.device;
    return l;
}

cuda_laid cuda_laid_new(equinv_context *ctx, rng *r, equinv_dtype dtype, int ndim,
                        const int64_t *shape)
{
    equinv_context *const cpu = cpu_context();
    const cuda_laid l = laid_on_device(ctx, laid_new(cpu, r, dtype, ndim, shape));
    equinv_context_destroy(cpu);
    return l;
}

cuda_laid cuda_laid_copy(equinv_context *ctx, rng *r, const equinv_tensor *values)
{
    equinv_context *const cpu = cpu_context();
    const cuda_laid l = laid_on_device(ctx, laid_copy(cpu, r, values));
    equinv_context_destroy(cpu);
    return l;
}

cuda_laid cuda_laid_plain(equinv_context *ctx, const equinv_tensor *values)
{
    equinv_context *const cpu = cpu_context();
    const equinv_tensor copy = tensor_copy(cpu, values);
    const cuda_laid l = laid_on_device(ctx, (laid){copy, copy});
    equinv_context_destroy(cpu);
    return l;
}

void cuda_laid_fetch(equinv_context *ctx, cuda_laid *l)
{
    equinv_tensor back = cuda_back(ctx, &l->storage);
    copy_values(&back, &l->here.storage);
    equinv_tensor_destroy(ctx, &back);
}

void cuda_laid_free(equinv_context *ctx, cuda_laid *l)
{
    equinv_context *const cpu = cpu_context();
    laid_free(cpu, &l->here);
    equinv_context_destroy(cpu);
    equinv_tensor_destroy(ctx, &l->storage);
}
