#include "internal/projection.h"

#include <math.h>
#include <string.h>

#include "internal/backend.h"
#include "internal/rows.h"
#include "internal/spectrum.h"

static const struct {
    const char *name;
    bool symmetric, many; /* an orbit or signal becomes several numbers: dst has a third axis */
    eqi_saved_kind saved;
} kinds[] = {
    [EQUINV_PROJECT_LINEAR] = {"LINEAR", false, false, EQI_SAVED_NONE},
    [EQUINV_PROJECT_MAX] = {"MAX", false, false, EQI_SAVED_INDEX},
    [EQUINV_PROJECT_MEAN] = {"MEAN", false, false, EQI_SAVED_NONE},
    [EQUINV_PROJECT_MEAN_RELU] = {"MEAN_RELU", false, false, EQI_SAVED_VALUE},
    [EQUINV_PROJECT_MEAN_ABS] = {"MEAN_ABS", false, false, EQI_SAVED_VALUE},
    [EQUINV_PROJECT_MEAN_SQUARE] = {"MEAN_SQUARE", false, false, EQI_SAVED_VALUE},
    [EQUINV_PROJECT_SORTED] = {"SORTED", false, true, EQI_SAVED_INDEX},
    [EQUINV_PROJECT_ORBIT] = {"ORBIT", false, true, EQI_SAVED_NONE},
    [EQUINV_PROJECT_SORT] = {"SORT", true, false, EQI_SAVED_INDEX},
    [EQUINV_PROJECT_PROJECT_SORT] = {"PROJECT_SORT", true, false, EQI_SAVED_INDEX},
    [EQUINV_PROJECT_MIN] = {"MIN", false, false, EQI_SAVED_INDEX},
    [EQUINV_PROJECT_MOMENT3] = {"MOMENT3", false, false, EQI_SAVED_VALUE},
    [EQUINV_PROJECT_CDF] = {"CDF", false, true, EQI_SAVED_NONE},
    [EQUINV_PROJECT_POWER] = {"POWER", false, true, EQI_SAVED_VALUE},
    [EQUINV_PROJECT_BISPECTRUM] = {"BISPECTRUM", false, true, EQI_SAVED_VALUE},
    [EQUINV_PROJECT_BISPECTRUM_FULL] = {"BISPECTRUM_FULL", false, true, EQI_SAVED_VALUE},
    [EQUINV_PROJECT_TRIPLE] = {"TRIPLE", false, true, EQI_SAVED_VALUE},
    [EQUINV_PROJECT_FOURIER] = {"FOURIER", false, true, EQI_SAVED_NONE},
};

const char *eqi_projection_kind_name(equinv_projection_kind kind)
{
    return kinds[kind].name;
}

eqi_saved_kind eqi_projection_saved_kind(equinv_projection_kind kind)
{
    return kinds[kind].saved;
}

bool eqi_has_templates(const equinv_projection *p)
{
    return p->desc.kind != EQUINV_PROJECT_SORT && !p->spectral;
}

/* ---- creation ------------------------------------------------------------------------------- */

static equinv_status check_finite(const equinv_projection_desc *d)
{
    EQI_TRY(eqi_check_finite_group(d->group, "group"));
    EQI_TRY(eqi_check_extent(d->fields, "fields", 1));
    EQI_TRY(eqi_check_extent(d->height, "height", 1));
    EQI_TRY(eqi_check_extent(d->width, "width", 1));
    const int64_t factors[4] = {d->fields, eqi_order(d->group), d->height, d->width};
    int64_t dimension;
    EQI_TRY(eqi_product_of("a latent", 4, factors, &dimension));
    return eqi_check_joint_action(d->group, d->height, d->width);
}

static equinv_status check_symmetric(const equinv_projection_desc *d, const char *kind)
{
    EQI_CHECK(d->group.kind == EQUINV_GROUP_SYMMETRIC && d->group.n == 0, ARG,
              "group has kind %d and n = %" PRId32 ", expected S for %s", (int)d->group.kind,
              d->group.n, kind);
    EQI_TRY(eqi_check_extent(d->rows, "rows", 1));
    EQI_CHECK(d->rows <= INT32_MAX, SHAPE,
              "rows is %" PRId64 ", expected below 2^31 (saved is I32)", d->rows);
    return eqi_check_extent(d->channels, "channels", 1);
}

/* Templates are there, and not more than the space they come from holds when orthonormal. */
static equinv_status check_templates(const equinv_context *ctx, const equinv_projection *p,
                                     const equinv_projection_desc *d)
{
    EQI_CHECK(d->templates >= EQUINV_TEMPLATE_GAUSSIAN && d->templates <= EQUINV_TEMPLATE_HADAMARD,
              ARG,
              "templates is %d, expected EQUINV_TEMPLATE_GAUSSIAN, _RADEMACHER, _ORTHONORMAL, "
              "_USER, _SPARSE or _HADAMARD",
              (int)d->templates);
    EQI_CHECK(d->templates != EQUINV_TEMPLATE_SPARSE || (d->density >= 0x1p-20 && d->density <= 1),
              ARG, "density is %g, expected 2^-20 to 1", d->density);
    const bool folded = d->kind == EQUINV_PROJECT_LINEAR;
    const int64_t most = folded ? p->rank : p->symmetric ? d->channels : p->dimension;
    EQI_CHECK(d->templates != EQUINV_TEMPLATE_ORTHONORMAL || d->k <= most, ARG,
              "k is %" PRId64 ", expected at most %" PRId64
              ": no more templates can be orthonormal%s",
              d->k, most, folded ? " after the orbit mean (the rank)" : "");
    EQI_CHECK((d->templates == EQUINV_TEMPLATE_USER) == (d->user_templates != NULL), ARG,
              "user_templates is %s, expected a tensor with EQUINV_TEMPLATE_USER and only then",
              d->user_templates ? "given" : "NULL");
    if (!d->user_templates)
        return EQUINV_OK;
    equinv_tensor view;
    EQI_TRY(eqi_check_tensor(ctx, d->user_templates, "user_templates", EQI_FLOAT));
    EQI_TRY(eqi_check_dtype(d->user_templates, "user_templates", d->dtype));
    if (p->symmetric)
        return eqi_check_shape(d->user_templates, "user_templates", 2,
                               (int64_t[]){d->k, d->channels});
    EQI_TRY(eqi_projection_latents(p, d->user_templates, "user_templates", false, &view));
    EQI_CHECK(view.shape[0] == d->k, SHAPE,
              "user_templates has %" PRId64 " templates, expected k = %" PRId64, view.shape[0],
              d->k);
    return EQUINV_OK;
}

/* What CDF and SORTED want of an orbit, and how many numbers an orbit or a signal becomes. */
static equinv_status check_lists(const equinv_projection_desc *d, equinv_projection *p)
{
    const bool cdf = d->kind == EQUINV_PROJECT_CDF, sorted = d->kind == EQUINV_PROJECT_SORTED;
    const int64_t places = sorted ? p->order : 0;
    EQI_CHECK((d->thresholds != NULL) == cdf, ARG,
              "thresholds is %s, expected a list for CDF and only there",
              d->thresholds ? "given" : "NULL");
    EQI_CHECK(cdf ? d->threshold_count >= 1 && d->threshold_count <= EQUINV_THRESHOLDS_MAX
                  : d->threshold_count == 0,
              ARG, "threshold_count is %" PRId64 ", expected %s", d->threshold_count,
              cdf ? "1 to 4096" : "0 where there are no thresholds");
    for (int64_t i = 0; i < d->threshold_count; i++)
        EQI_CHECK(!isnan(d->thresholds[i]), ARG,
                  "thresholds has NaN at place %" PRId64 ", expected numbers", i);
    EQI_CHECK(!d->ranks || sorted, ARG, "ranks is given, expected NULL: only SORTED has places");
    EQI_CHECK(d->ranks ? d->rank_count >= 1 && d->rank_count <= places : d->rank_count == 0, ARG,
              "rank_count is %" PRId64 ", expected %s%" PRId64, d->rank_count,
              d->ranks ? "1 to the group's order " : "no ranks to be ",
              places * (d->ranks != NULL));
    for (int64_t i = 0; i < d->rank_count; i++)
        EQI_CHECK(d->ranks[i] >= (i ? d->ranks[i - 1] + 1 : 0) && d->ranks[i] < places, ARG,
                  "ranks has %" PRId32 " at place %" PRId64
                  ", expected ascending numbers from 0 to %" PRId64,
                  d->ranks[i], i, places - 1);
    p->outputs = p->spectral           ? eqi_spectrum_numbers(d->kind, d->group)
                 : cdf                 ? d->threshold_count
                 : d->ranks            ? d->rank_count
                 : kinds[d->kind].many ? p->order
                                       : 1;
    return EQUINV_OK;
}

/* Everything about the description; sets what follows from it. */
static equinv_status check_desc(const equinv_context *ctx, const equinv_projection_desc *d,
                                equinv_projection *p)
{
    EQI_TRY(eqi_check_desc(d->struct_size, sizeof *d, "equinv_projection_desc"));
    EQI_CHECK(d->kind >= EQUINV_PROJECT_LINEAR && d->kind <= EQUINV_PROJECT_FOURIER, ARG,
              "kind is %d, expected EQUINV_PROJECT_LINEAR (1) to _FOURIER (18)", (int)d->kind);
    p->symmetric = kinds[d->kind].symmetric;
    p->spectral = eqi_is_spectral(d->kind);
    EQI_TRY(p->symmetric ? check_symmetric(d, kinds[d->kind].name) : check_finite(d));
    EQI_CHECK(!p->spectral || d->group.kind != EQUINV_GROUP_TABLE, UNSUPPORTED,
              "group is given by a table, expected C_n or D_n for %s: irreps are needed",
              kinds[d->kind].name);
    EQI_CHECK(d->dtype == EQUINV_F32 || d->dtype == EQUINV_F64, DTYPE,
              "dtype is %s, expected f32 or f64", equinv_dtype_name(d->dtype));
    p->desc = *d;
    p->desc.user_templates = NULL;
    p->desc.impl = NULL;
    p->order = p->symmetric ? 1 : eqi_order(d->group);
    p->rank = p->symmetric ? 0 : d->fields * d->height * d->width;
    EQI_TRY(check_lists(d, p));
    const int64_t factors[2] = {p->symmetric ? d->rows : p->rank,
                                p->symmetric ? d->channels : p->order};
    EQI_TRY(eqi_product_of("a latent", 2, factors, &p->dimension));
    p->scale = 1;
    if (!eqi_has_templates(p))
        return EQUINV_OK;
    EQI_TRY(eqi_check_extent(d->k, "k", 1));
    p->k = d->k;
    p->scale = d->scaled ? 1 / sqrt((double)d->k) : 1;
    const int64_t numbers[3] = {d->k, p->symmetric ? d->channels : p->dimension,
                                (int64_t)equinv_dtype_size(d->dtype) * p->order};
    int64_t bytes;
    EQI_TRY(eqi_product_of("the templates", 3, numbers, &bytes));
    return check_templates(ctx, p, d);
}

static equinv_status copy_lists(equinv_projection *p, const equinv_projection_desc *from)
{
    equinv_projection_desc *const d = &p->desc;
    void *memory;
    if (from->thresholds) {
        EQI_TRY(eqi_alloc_zeroed(p->ctx, d->threshold_count, sizeof *d->thresholds, "thresholds",
                                 &memory));
        d->thresholds =
            memcpy(memory, from->thresholds, (size_t)d->threshold_count * sizeof *d->thresholds);
    }
    if (from->ranks) {
        EQI_TRY(eqi_alloc_zeroed(p->ctx, d->rank_count, sizeof *d->ranks, "ranks", &memory));
        d->ranks = memcpy(memory, from->ranks, (size_t)d->rank_count * sizeof *d->ranks);
    }
    return EQUINV_OK;
}

static equinv_status size_scratch(equinv_projection *p)
{
    size_t all;
    EQI_CHECK(p->implementation->scratch(p, &p->slice_size, &p->shared_size) &&
                  !__builtin_mul_overflow(p->slice_size, (size_t)p->ctx->hardware.threads, &all) &&
                  !__builtin_add_overflow(all, p->shared_size, &all),
              SHAPE, "the scratch of this projection exceeds the address space");
    return eqi_arena_reserve(p->ctx, all);
}

equinv_status equinv_projection_create(equinv_context *ctx, const equinv_projection_desc *desc,
                                       equinv_projection **projection)
{
    return eqi_projection_create(ctx, desc, desc ? desc->templates : EQUINV_TEMPLATE_USER,
                                 projection);
}

equinv_status eqi_projection_create(equinv_context *ctx, const equinv_projection_desc *desc,
                                    equinv_template_kind made_by, equinv_projection **projection)
{
    EQI_CHECK(ctx, ARG, "ctx is NULL, expected a context");
    EQI_CHECK(desc, ARG, "desc is NULL, expected a description");
    EQI_CHECK(projection, ARG, "projection is NULL, expected where to put it");
    equinv_projection checked = {.ctx = ctx};
    EQI_TRY(check_desc(ctx, desc, &checked));
    const eqi_implementation *chosen;
    EQI_TRY(eqi_choose(ctx, ctx->backend->projection, &checked, desc->impl, &chosen));
    checked.implementation = (const eqi_projection_implementation *)chosen;

    void *memory;
    EQI_TRY(eqi_alloc_zeroed(ctx, 1, sizeof checked, "a projection", &memory));
    equinv_projection *const p = memory;
    *p = checked;
    p->desc.templates = made_by;
    p->desc.thresholds = NULL;
    p->desc.ranks = NULL;
    equinv_status status;
    EQI_TRY_GOTO(status, fail, copy_lists(p, desc));
    EQI_TRY_GOTO(status, fail, eqi_make_templates(p, desc->user_templates));
    if (p->implementation->prepare)
        EQI_TRY_GOTO(status, fail, p->implementation->prepare(p));
    EQI_TRY_GOTO(status, fail, size_scratch(p));
    *projection = p;
    return EQUINV_OK;
fail:
    equinv_projection_destroy(p);
    return status;
}

void equinv_projection_destroy(equinv_projection *projection)
{
    if (!projection)
        return;
    equinv_context *const ctx = projection->ctx;
    if (projection->prepared)
        projection->implementation->release(projection);
    equinv_tensor_destroy(ctx, &projection->templates);
    const equinv_projection_desc *const d = &projection->desc;
    if (d->thresholds)
        eqi_free(ctx, (void *)d->thresholds, (size_t)d->threshold_count * sizeof *d->thresholds);
    if (d->ranks)
        eqi_free(ctx, (void *)d->ranks, (size_t)d->rank_count * sizeof *d->ranks);
    eqi_free(ctx, projection, sizeof *projection);
}

/* ---- questions ------------------------------------------------------------------------------ */

int32_t eqi_projection_shape(const equinv_projection *p, int64_t batch, int64_t shape[3])
{
    shape[0] = batch;
    if (p->desc.kind == EQUINV_PROJECT_SORT) {
        shape[1] = p->desc.rows;
        shape[2] = p->desc.channels;
        return 3;
    }
    shape[1] = p->spectral ? p->rank : p->k;
    shape[2] = p->symmetric ? p->desc.rows : p->outputs;
    return p->symmetric || kinds[p->desc.kind].many ? 3 : 2;
}

equinv_status equinv_projection_output_shape(const equinv_projection *projection, int64_t batch,
                                             int32_t *ndim, int64_t shape[3])
{
    EQI_CHECK(projection, ARG, "projection is NULL, expected a projection");
    EQI_TRY(eqi_check_extent(batch, "batch", 0));
    EQI_CHECK(ndim, ARG, "ndim is NULL, expected where to put the number");
    EQI_CHECK(shape, ARG, "shape is NULL, expected room for 3 extents");
    int64_t extents[3], count;
    const int32_t axes = eqi_projection_shape(projection, batch, extents);
    EQI_TRY(eqi_product_of("dst", axes, extents, &count));
    memcpy(shape, extents, (size_t)axes * sizeof *shape);
    *ndim = axes;
    return EQUINV_OK;
}

equinv_status equinv_projection_templates(const equinv_projection *projection,
                                          equinv_tensor *templates)
{
    EQI_CHECK(projection, ARG, "projection is NULL, expected a projection");
    EQI_CHECK(templates, ARG, "templates is NULL, expected where to put the view");
    EQI_CHECK(eqi_has_templates(projection), UNSUPPORTED,
              "projection is of kind %s, which has no templates",
              kinds[projection->desc.kind].name);
    *templates = projection->templates;
    return EQUINV_OK;
}

equinv_status equinv_projection_rank(const equinv_projection *projection, int64_t *rank)
{
    EQI_CHECK(projection, ARG, "projection is NULL, expected a projection");
    EQI_CHECK(rank, ARG, "rank is NULL, expected where to put the number");
    EQI_CHECK(!projection->symmetric, UNSUPPORTED,
              "projection is of kind %s, expected one of C_n or D_n to have a rank",
              kinds[projection->desc.kind].name);
    *rank = projection->rank;
    return EQUINV_OK;
}

const char *equinv_projection_impl_name(const equinv_projection *projection)
{
    return projection->implementation->base.name;
}

size_t equinv_projection_scratch_size(const equinv_projection *projection)
{
    return projection->shared_size +
           projection->slice_size * (size_t)projection->ctx->hardware.threads;
}

int64_t equinv_projection_saved_size(const equinv_projection *projection, int64_t batch)
{
    const eqi_saved_kind saved = kinds[projection->desc.kind].saved;
    int64_t factors[4] = {0, 1, 1, sizeof(int32_t)}, size = -1;
    if (batch < 0)
        return -1;
    if (saved == EQI_SAVED_NONE)
        return 0;
    const int32_t axes = eqi_projection_shape(projection, batch, factors);
    if (saved == EQI_SAVED_VALUE) {
        factors[2] = projection->order;
        factors[3] = (int64_t)equinv_dtype_size(projection->desc.dtype);
    } else if (axes == 2) {
        factors[2] = 1;
    }
    return eqi_product_of("saved", 4, factors, &size) == EQUINV_OK ? size : -1;
}

/* ---- execution ------------------------------------------------------------------------------ */

equinv_status eqi_projection_latents(const equinv_projection *p, const equinv_tensor *tensor,
                                     const char *name, bool output, equinv_tensor *latents)
{
    const equinv_projection_desc *const d = &p->desc;
    EQI_TRY((output ? eqi_check_output : eqi_check_tensor)(p->ctx, tensor, name, EQI_FLOAT));
    EQI_TRY(eqi_check_dtype(tensor, name, d->dtype));
    equinv_tensor map = *tensor;
    char has[128];
    if (p->symmetric) {
        if (map.ndim == 2 && d->channels == 1) {
            map.ndim = 3;
            map.shape[2] = map.strides[2] = 1;
        }
        EQI_CHECK(map.ndim == 3 && map.shape[1] == d->rows && map.shape[2] == d->channels, SHAPE,
                  "%s has shape %s, expected [batch, %" PRId64 ", %" PRId64 "]%s", name,
                  eqi_shape_text(tensor->ndim, tensor->shape, has, sizeof has), d->rows,
                  d->channels, d->channels == 1 ? " (or without the last axis)" : "");
    } else {
        const bool fits = equinv_tensor_as_fields(tensor, p->order, &map) == EQUINV_OK &&
                          map.shape[1] == d->fields && map.shape[3] == d->height &&
                          map.shape[4] == d->width;
        EQI_CHECK(fits, SHAPE,
                  "%s has shape %s, expected [batch, %" PRId64 ", %" PRId32 ", %" PRId64
                  ", %" PRId64 "] or a view of it that equinv_tensor_as_fields takes",
                  name, eqi_shape_text(tensor->ndim, tensor->shape, has, sizeof has), d->fields,
                  p->order, d->height, d->width);
    }
    *latents = map;
    return EQUINV_OK;
}

static equinv_status check_mask(const equinv_projection *p, const equinv_tensor *mask,
                                int64_t batch, eqi_projection_call *call)
{
    call->masked = mask != NULL;
    if (!mask)
        return EQUINV_OK;
    EQI_CHECK(p->symmetric, ARG, "mask is given, expected NULL: only S has rows to leave out");
    EQI_TRY(eqi_check_tensor(p->ctx, mask, "mask", EQI_U8 | EQI_I32));
    EQI_TRY(eqi_check_shape(mask, "mask", 2, (int64_t[]){batch, p->desc.rows}));
    call->mask = *mask;
    return EQUINV_OK;
}

/* dst or its gradient. One channel sorted may come without its last axis, as the latents may. */
static equinv_status check_dst(const equinv_projection *p, const equinv_tensor *dst,
                               const char *name, bool output, int64_t batch, equinv_tensor *view)
{
    EQI_TRY((output ? eqi_check_output : eqi_check_tensor)(p->ctx, dst, name, EQI_FLOAT));
    EQI_TRY(eqi_check_dtype(dst, name, p->desc.dtype));
    int64_t shape[3];
    const int32_t ndim = eqi_projection_shape(p, batch, shape);
    *view = *dst;
    if (p->desc.kind == EQUINV_PROJECT_SORT && p->desc.channels == 1 && dst->ndim == 2) {
        view->ndim = 3;
        view->shape[2] = view->strides[2] = 1;
    }
    return eqi_check_shape(view, name, ndim, shape);
}

equinv_status equinv_project_forward(const equinv_projection *projection, const equinv_tensor *src,
                                     const equinv_tensor *mask, const equinv_tensor *dst,
                                     void *saved, size_t saved_size, void *scratch,
                                     size_t scratch_size)
{
    EQI_CHECK(projection, ARG, "projection is NULL, expected a projection");
    eqi_projection_call call = {.saved = saved};
    EQI_TRY(eqi_projection_latents(projection, src, "src", false, &call.src));
    const int64_t batch = call.src.shape[0];
    EQI_TRY(check_mask(projection, mask, batch, &call));
    EQI_TRY(check_dst(projection, dst, "dst", true, batch, &call.dst));
    EQI_TRY(eqi_check_disjoint(dst, "dst", src, "src"));
    if (mask)
        EQI_TRY(eqi_check_disjoint(dst, "dst", mask, "mask"));
    const int64_t needed = equinv_projection_saved_size(projection, batch);
    EQI_CHECK(needed >= 0, SHAPE, "saved for a batch of %" PRId64 " exceeds the address space",
              batch);
    EQI_TRY(eqi_check_saved(projection->ctx, saved, saved_size, (size_t)needed, false));
    EQI_TRY(eqi_scratch(projection->ctx, equinv_projection_scratch_size(projection), scratch,
                        scratch_size, &call.scratch));
    return projection->implementation->forward(projection, &call);
}

equinv_status equinv_project_backward_templates(const equinv_projection *projection,
                                                const equinv_tensor *src, const equinv_tensor *mask,
                                                const equinv_tensor *diff_dst, const void *saved,
                                                size_t saved_size,
                                                const equinv_tensor *diff_templates, void *scratch,
                                                size_t scratch_size)
{
    EQI_CHECK(projection, ARG, "projection is NULL, expected a projection");
    EQI_CHECK(eqi_has_templates(projection), UNSUPPORTED,
              "projection is of kind %s, which has no templates",
              kinds[projection->desc.kind].name);
    EQI_CHECK(projection->implementation->backward_templates, UNSUPPORTED,
              "%s has no gradient of templates, expected a projection of a CPU context",
              projection->implementation->base.name);
    eqi_projection_call call = {.saved = (void *)saved}; /* only read */
    EQI_TRY(eqi_projection_latents(projection, src, "src", false, &call.src));
    const int64_t batch = call.src.shape[0];
    EQI_TRY(check_mask(projection, mask, batch, &call));
    EQI_TRY(check_dst(projection, diff_dst, "diff_dst", false, batch, &call.dst));
    const int64_t needed = equinv_projection_saved_size(projection, batch);
    EQI_CHECK(needed >= 0, SHAPE, "saved for a batch of %" PRId64 " exceeds the address space",
              batch);
    EQI_TRY(eqi_check_saved(projection->ctx, saved, saved_size, (size_t)needed, true));
    EQI_TRY(eqi_check_output(projection->ctx, diff_templates, "diff_templates", EQI_FLOAT));
    EQI_TRY(eqi_check_dtype(diff_templates, "diff_templates", projection->desc.dtype));
    EQI_TRY(eqi_check_shape(diff_templates, "diff_templates", projection->templates.ndim,
                            projection->templates.shape));
    call.templates = *diff_templates;
    EQI_TRY(eqi_check_disjoint(diff_templates, "diff_templates", src, "src"));
    EQI_TRY(eqi_check_disjoint(diff_templates, "diff_templates", diff_dst, "diff_dst"));
    EQI_TRY(eqi_scratch(projection->ctx, equinv_projection_scratch_size(projection), scratch,
                        scratch_size, &call.scratch));
    return projection->implementation->backward_templates(projection, &call);
}

equinv_status equinv_project_backward(const equinv_projection *projection,
                                      const equinv_tensor *diff_dst, const equinv_tensor *mask,
                                      const void *saved, size_t saved_size,
                                      const equinv_tensor *diff_src, void *scratch,
                                      size_t scratch_size)
{
    EQI_CHECK(projection, ARG, "projection is NULL, expected a projection");
    eqi_projection_call call = {.saved = (void *)saved}; /* backward only reads it */
    EQI_CHECK(diff_dst, ARG, "diff_dst is NULL, expected a tensor");
    const int64_t batch = diff_dst->ndim > 0 ? diff_dst->shape[0] : 0;
    EQI_TRY(check_dst(projection, diff_dst, "diff_dst", false, batch, &call.dst));
    EQI_TRY(check_mask(projection, mask, batch, &call));
    const int64_t needed = equinv_projection_saved_size(projection, batch);
    EQI_CHECK(needed >= 0, SHAPE, "saved for a batch of %" PRId64 " exceeds the address space",
              batch);
    EQI_TRY(eqi_check_saved(projection->ctx, saved, saved_size, (size_t)needed, true));
    EQI_TRY(eqi_projection_latents(projection, diff_src, "diff_src", true, &call.src));
    EQI_CHECK(call.src.shape[0] == batch, SHAPE,
              "diff_src has a batch of %" PRId64 ", expected %" PRId64 " as diff_dst has",
              call.src.shape[0], batch);
    EQI_TRY(eqi_check_disjoint(diff_src, "diff_src", diff_dst, "diff_dst"));
    if (mask)
        EQI_TRY(eqi_check_disjoint(diff_src, "diff_src", mask, "mask"));
    EQI_TRY(eqi_scratch(projection->ctx, equinv_projection_scratch_size(projection), scratch,
                        scratch_size, &call.scratch));
    return projection->implementation->backward(projection, &call);
}
