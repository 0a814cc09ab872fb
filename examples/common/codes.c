#include <math.h>
#include <string.h>

#include "common.h"

/* ---- places --------------------------------------------------------------------------------- */

equinv_status place_create(const equinv_context_desc *device, place *p)
{
    memset(p, 0, sizeof *p);
    equinv_status status = equinv_context_create(device, &p->net);
    if (status || equinv_context_device(p->net).kind == EQUINV_DEVICE_CPU) {
        p->cpu = p->net;
        return status;
    }
    equinv_context_desc cpu = *device;
    cpu.device = EQUINV_DEVICE_CPU;
    return equinv_context_create(&cpu, &p->cpu);
}

void place_destroy(place *p)
{
    if (p->cpu != p->net)
        equinv_context_destroy(p->cpu);
    equinv_context_destroy(p->net);
    memset(p, 0, sizeof *p);
}

equinv_status extract(const void *how, const equinv_tensor *images, equinv_tensor *latents)
{
    const extraction *const e = how;
    int64_t shape[5];
    equinv_extract_desc d = EQUINV_EXTRACT_DESC_INIT;
    d.layer = e->layer;
    equinv_status status = equinv_model_layer_shape(e->model, d.layer, shape);
    shape[0] = images->shape[0];
    if (!status)
        status = equinv_tensor_create(e->place->cpu, EQUINV_F32, 5, shape, latents);
    return status ? status : equinv_extract(e->model, &d, images, NULL, latents);
}

/* ---- codes ---------------------------------------------------------------------------------- */

/* Inner products with Gaussian templates spread by a latent's length: fractions of the mean one. */
enum { THRESHOLDS = 5 };
static void choose_thresholds(const equinv_tensor *latents, double thresholds[THRESHOLDS])
{
    static const double fractions[THRESHOLDS] = {-1, -0.5, 0, 0.5, 1};
    const int64_t numbers = equinv_tensor_count(latents);
    double sum = 0;
    for (int64_t i = 0; i < numbers; i++) {
        const double value = (double)((const float *)latents->data)[i];
        sum += value * value;
    }
    for (int i = 0; i < THRESHOLDS; i++)
        thresholds[i] = fractions[i] * sqrt(sum / (double)latents->shape[0]);
}

equinv_status coder_create(const place *p, const code_desc *desc, equinv_group group,
                           const equinv_tensor *like, uint64_t seed, const equinv_tensor *user,
                           coder *c)
{
    equinv_projection_desc d = EQUINV_PROJECTION_DESC_INIT;
    double thresholds[THRESHOLDS];
    *c = (coder){p, p->net, desc, group, seed, NULL};
    if (desc->kind != CODE_UNFOLDED && desc->kind != CODE_PROJECT)
        return EQUINV_OK;
    d.kind = desc->projection;
    d.group = group;
    d.fields = like->shape[1];
    d.height = like->shape[3];
    d.width = like->shape[4];
    d.k = desc->k;
    d.seed = seed;
    d.templates = desc->templates;
    if (desc->kind == CODE_UNFOLDED) { /* every element's channels are fields of no group at all */
        d.kind = EQUINV_PROJECT_LINEAR;
        d.group = equinv_cyclic(1);
        d.fields *= like->shape[2];
    }
    if (user) {
        d.templates = EQUINV_TEMPLATE_USER;
        d.user_templates = user;
    }
    if (d.kind == EQUINV_PROJECT_CDF) {
        choose_thresholds(like, thresholds);
        d.thresholds = thresholds;
        d.threshold_count = THRESHOLDS;
    }
    equinv_status status = equinv_projection_create(p->net, &d, &c->projection);
    if (status != EQUINV_ERR_UNSUPPORTED || p->cpu == p->net)
        return status;
    fprintf(stderr, "%s is computed on the CPU: %s\n", desc->title, equinv_last_error());
    c->at = p->cpu;
    return equinv_projection_create(p->cpu, &d, &c->projection);
}

void coder_destroy(coder *c)
{
    equinv_projection_destroy(c->projection);
    c->projection = NULL;
}

static equinv_pool_desc pool_of(const coder *c, const equinv_tensor *latents)
{
    equinv_pool_desc d = EQUINV_POOL_DESC_INIT;
    d.kind = c->desc->pool;
    d.group = c->group;
    d.batch = latents->shape[0];
    d.fields = latents->shape[1];
    d.elements = latents->shape[2];
    d.height = latents->shape[3];
    d.width = latents->shape[4];
    return d;
}

/* [N, F, G, H, W] as [N, F G, 1, H, W]. */
static equinv_tensor without_group(const equinv_tensor *latents)
{
    equinv_tensor plain = *latents;
    plain.shape[1] *= plain.shape[2];
    plain.strides[1] = plain.strides[2];
    plain.shape[2] = 1;
    return plain;
}

static equinv_status code_shape(const coder *c, const equinv_tensor *latents, int32_t *ndim,
                                int64_t shape[5])
{
    *ndim = 5;
    memcpy(shape, latents->shape, sizeof *shape * 5);
    if (c->desc->kind == CODE_POOL) {
        const equinv_pool_desc d = pool_of(c, latents);
        return equinv_pool_output_shape(&d, shape);
    }
    if (c->projection)
        return equinv_projection_output_shape(c->projection, latents->shape[0], ndim, shape);
    return EQUINV_OK;
}

/* src and dst where the network is. */
static equinv_status compute(const coder *c, const equinv_tensor *src, const equinv_tensor *dst)
{
    const equinv_tensor plain = without_group(src);
    if (c->desc->kind != CODE_POOL)
        return equinv_project_forward(c->projection, c->desc->kind == CODE_UNFOLDED ? &plain : src,
                                      NULL, dst, NULL, 0, NULL, 0);
    const equinv_pool_desc d = pool_of(c, src);
    equinv_plan *plan = NULL;
    equinv_status status = equinv_pool_plan_create(c->at, &d, &plan);
    if (!status)
        status = equinv_pool_forward(plan, src, dst, NULL, 0, NULL, 0);
    equinv_plan_destroy(plan);
    return status;
}

/* The same with both in CPU memory, by way of the device. */
static equinv_status compute_there(const coder *c, const equinv_tensor *src,
                                   const equinv_tensor *dst)
{
    equinv_context *const net = c->at;
    equinv_tensor x = {0}, y = {0};
    equinv_status status;
    TRY(equinv_tensor_create(net, EQUINV_F32, src->ndim, src->shape, &x));
    TRY(equinv_tensor_create(net, EQUINV_F32, dst->ndim, dst->shape, &y));
    TRY(equinv_tensor_copy(net, src, &x));
    TRY(compute(c, &x, &y));
    TRY(equinv_tensor_copy(net, &y, dst));
    TRY(equinv_context_synchronize(net));
done:
    equinv_tensor_destroy(net, &x);
    equinv_tensor_destroy(net, &y);
    return status;
}

equinv_status encode(const void *how, const equinv_tensor *latents, equinv_tensor *codes)
{
    const coder *const c = how;
    equinv_context *const cpu = c->place->cpu;
    int32_t ndim;
    int64_t shape[5];
    equinv_status status;
    TRY(code_shape(c, latents, &ndim, shape));
    TRY(equinv_tensor_create(cpu, EQUINV_F32, ndim, shape, codes));
    if (c->desc->kind == CODE_RAW)
        status = equinv_tensor_copy(cpu, latents, codes);
    else if (c->desc->kind == CODE_CANONICAL)
        status = equinv_orbit_canonicalise(cpu, c->group, c->seed, latents, codes, NULL);
    else
        status =
            c->place->net == cpu ? compute(c, latents, codes) : compute_there(c, latents, codes);
done:
    return status;
}
