/* The templates of a projection: made by a recipe or copied from the caller, and fit for use. */
#include <math.h>

#include "internal/backend.h"
#include "internal/projection.h"

/* A template of zeros has one code for everything, one with NaN or infinity spoils its codes. */
static equinv_status check_numbers(const equinv_tensor *templates)
{
    const int64_t count = templates->shape[0], length = equinv_tensor_count(templates) / count;
    for (int64_t t = 0; t < count; t++) {
        bool zero = true;
        for (int64_t i = t * length; i < (t + 1) * length; i++) {
            const double x = eqi_load(templates, i);
            EQI_CHECK(isfinite(x), ARG,
                      "template %" PRId64 " has %g at coordinate %" PRId64
                      ", expected finite numbers",
                      t, x, i - t * length);
            zero = zero && x == 0;
        }
        EQI_CHECK(!zero, ARG,
                  "template %" PRId64 " is zero in all of its %" PRId64
                  " numbers, expected one that is not",
                  t, length);
    }
    return EQUINV_OK;
}

static equinv_status finish_here(const equinv_projection *p, const equinv_tensor *templates)
{
    switch (p->desc.templates) {
    case EQUINV_TEMPLATE_USER: return check_numbers(templates);
    case EQUINV_TEMPLATE_ORTHONORMAL:
        return eqi_make_orthonormal(p->ctx, p->desc.group, p->desc.kind == EQUINV_PROJECT_LINEAR,
                                    templates);
    default: eqi_make_structured(p->ctx, &p->desc, templates); return EQUINV_OK;
    }
}

/* On the CPU, whatever the device: it is done once. */
static equinv_status finish_on_cpu(equinv_projection *p)
{
    const equinv_tensor *const t = &p->templates;
    if (!p->ctx->backend->device)
        return finish_here(p, t);
    equinv_tensor here;
    equinv_status status;
    EQI_TRY(equinv_tensor_create_pinned(p->ctx, t->dtype, t->ndim, t->shape, &here));
    EQI_TRY_GOTO(status, done, equinv_tensor_copy(p->ctx, t, &here));
    EQI_TRY_GOTO(status, done, equinv_context_synchronize(p->ctx));
    EQI_TRY_GOTO(status, done, finish_here(p, &here));
    EQI_TRY_GOTO(status, done, equinv_tensor_copy(p->ctx, &here, t));
    status = equinv_context_synchronize(p->ctx);
done:
    equinv_tensor_destroy(p->ctx, &here);
    return status;
}

equinv_status eqi_make_templates(equinv_projection *p, const equinv_tensor *user)
{
    const equinv_projection_desc *const d = &p->desc;
    if (!eqi_has_templates(p))
        return EQUINV_OK;
    const int64_t finite[5] = {d->k, d->fields, p->order, d->height, d->width};
    const int64_t symmetric[2] = {d->k, d->channels};
    EQI_TRY(equinv_tensor_create(p->ctx, d->dtype, p->symmetric ? 2 : 5,
                                 p->symmetric ? symmetric : finite, &p->templates));
    if (user) {
        equinv_tensor view = *user;
        if (!p->symmetric)
            EQI_TRY(equinv_tensor_as_fields(user, p->order, &view));
        EQI_TRY(equinv_tensor_convert(p->ctx, &view, 1, 0, &p->templates));
        if (d->templates != EQUINV_TEMPLATE_USER) /* of a file, as a recipe made them */
            return EQUINV_OK;
    } else if (d->templates != EQUINV_TEMPLATE_SPARSE && d->templates != EQUINV_TEMPLATE_HADAMARD) {
        const equinv_template_kind kind = d->templates == EQUINV_TEMPLATE_RADEMACHER
                                              ? EQUINV_TEMPLATE_RADEMACHER
                                              : EQUINV_TEMPLATE_GAUSSIAN;
        EQI_TRY(p->ctx->backend->templates(p->ctx, kind, d->seed, 0, &p->templates));
        if (d->templates == kind)
            return EQUINV_OK;
    }
    return finish_on_cpu(p);
}
