#include "tests/util/cuda_network.h"

pair pair_of(equinv_context *cpu, equinv_context *ctx, equinv_model *here, rng *r, int batch,
             equinv_dtype dtype)
{
    pair p = {cpu, ctx, here, network_copy(ctx, here), {0}, {0}};
    p.images = network_images(cpu, r, here, batch, dtype);
    p.images_there = cuda_copy(ctx, &p.images);
    return p;
}

void pair_free(pair *p)
{
    equinv_tensor_destroy(p->cpu, &p->images);
    equinv_tensor_destroy(p->ctx, &p->images_there);
    equinv_model_destroy(p->there);
    equinv_model_destroy(p->here);
}

pair pair_small(uint64_t seed, int batch, equinv_dtype dtype)
{
    equinv_context *const cpu = context_new(), *const ctx = cuda_context_new();
    return pair_of(cpu, ctx, network_small(cpu), &(rng){seed}, batch, dtype);
}

void pair_small_free(pair *p)
{
    pair_free(p);
    equinv_context_destroy(p->ctx);
    equinv_context_destroy(p->cpu);
}
