#include "internal/plan.h"

#include <string.h>

#include "internal/backend.h"

bool eqi_supports_all(const void *problem, const eqi_hardware *hardware, const char **why)
{
    (void)problem;
    (void)hardware;
    (void)why;
    return true;
}

/* The part of "conv/gemm" after the slash. */
static const char *short_name(const char *name)
{
    const char *const slash = strrchr(name, '/');
    return slash ? slash + 1 : name;
}

static equinv_status choose_by_name(const equinv_context *ctx,
                                    const eqi_implementation *const *list, const void *problem,
                                    const char *forced, const eqi_implementation **chosen)
{
    char names[256] = "";
    for (; *list; list++) {
        const char *const name = short_name((*list)->name);
        if (strcmp(name, forced) == 0) {
            const char *why = "no reason given";
            EQI_CHECK((*list)->supports(problem, &ctx->hardware, &why), UNSUPPORTED,
                      "impl \"%s\" declines this problem: %s", forced, why);
            *chosen = *list;
            return EQUINV_OK;
        }
        const size_t used = strlen(names);
        eqi_format(names + used, sizeof names - used, used ? ", %s" : "%s", name);
    }
    return eqi_fail(EQUINV_ERR_ARG, "impl is \"%.64s\", expected one of %s", forced, names);
}

equinv_status eqi_choose(const equinv_context *ctx, const eqi_implementation *const *list,
                         const void *problem, const char *forced, const eqi_implementation **chosen)
{
    if (forced) {
        EQI_TRY(choose_by_name(ctx, list, problem, forced, chosen));
        eqi_log(ctx, EQUINV_LOG_DISPATCH, "%s: chosen by name", (*chosen)->name);
        return EQUINV_OK;
    }
    const char *why = "there is none";
    for (; *list; list++) {
        why = "no reason given";
        if ((*list)->supports(problem, &ctx->hardware, &why) &&
            (!(*list)->gains || (*list)->gains(problem, &ctx->hardware, &why))) {
            eqi_log(ctx, EQUINV_LOG_DISPATCH, "%s: chosen", (*list)->name);
            *chosen = *list;
            return EQUINV_OK;
        }
        eqi_log(ctx, EQUINV_LOG_DISPATCH, "%s: declined, %s", (*list)->name, why);
    }
    return eqi_fail(EQUINV_ERR_UNSUPPORTED, "no implementation of %s accepts this problem: %s",
                    ctx->backend->name, why);
}

equinv_status eqi_check_plan_create(const equinv_context *ctx, const void *desc,
                                    equinv_plan *const *plan)
{
    EQI_CHECK(ctx, ARG, "ctx is NULL, expected a context");
    EQI_CHECK(desc, ARG, "desc is NULL, expected a description");
    EQI_CHECK(plan, ARG, "plan is NULL, expected where to put the plan");
    return EQUINV_OK;
}

equinv_status eqi_plan_allocate(equinv_context *ctx, eqi_operation operation, size_t size,
                                equinv_plan **plan)
{
    void *memory;
    EQI_TRY(eqi_alloc_zeroed(ctx, 1, size, "a plan", &memory));
    *plan = memory;
    (*plan)->ctx = ctx;
    (*plan)->operation = operation;
    (*plan)->size = size;
    (*plan)->group = equinv_cyclic(1);
    return EQUINV_OK;
}

equinv_status eqi_plan_allocate_with(equinv_context *ctx, eqi_operation operation, size_t size,
                                     size_t table_size, equinv_plan **plan, void **tables)
{
    EQI_TRY(eqi_plan_allocate(ctx, operation, eqi_aligned(size) + table_size, plan));
    *tables = (char *)*plan + eqi_aligned(size);
    return EQUINV_OK;
}

void equinv_plan_destroy(equinv_plan *plan)
{
    if (plan)
        eqi_free(plan->ctx, plan, plan->size);
}

size_t equinv_plan_scratch_size(const equinv_plan *plan)
{
    return plan->scratch_size;
}

size_t equinv_plan_packed_size(const equinv_plan *plan)
{
    return plan->packed_size;
}

size_t equinv_plan_saved_size(const equinv_plan *plan)
{
    return plan->saved_size;
}

const char *equinv_plan_impl_name(const equinv_plan *plan)
{
    return plan->impl_name;
}

equinv_status eqi_check_plan(const equinv_plan *plan, eqi_operation operation, const char *function)
{
    EQI_CHECK(plan, ARG, "plan is NULL, expected a plan for %s", function);
    EQI_CHECK(plan->operation == operation, ARG,
              "plan is of another operation (%s), expected one for %s", plan->impl_name, function);
    return EQUINV_OK;
}

equinv_status eqi_window_output(const char *axis, int64_t size, int64_t kernel, int64_t stride,
                                int64_t padding, int64_t dilation, int64_t *output)
{
    int64_t covered, reach;
    EQI_CHECK(!__builtin_mul_overflow(kernel - 1, dilation, &reach) &&
                  !__builtin_add_overflow(size, 2 * padding, &covered) &&
                  !__builtin_sub_overflow(covered, reach, &covered),
              SHAPE,
              "%s %" PRId64 " with kernel %" PRId64 ", padding %" PRId64 " and dilation %" PRId64
              " overflows",
              axis, size, kernel, padding, dilation);
    EQI_CHECK(covered >= 1, SHAPE,
              "%s is %" PRId64 ", which with padding %" PRId64 " is smaller than kernel %" PRId64
              " at dilation %" PRId64 "; expected at least one output pixel",
              axis, size, padding, kernel, dilation);
    *output = (covered - 1) / stride + 1;
    return EQUINV_OK;
}

/* What is left over after the last window; 0 where reversing the axis maps windows to windows. */
static int64_t remainder_on(const struct eqi_window *w, int64_t size)
{
    const int64_t rest = (size + 2 * w->padding - w->dilation * (w->kernel - 1) - 1) % w->stride;
    return w->circular ? rest % size : rest;
}

equinv_status equinv_plan_exactness(const equinv_plan *plan, int32_t element,
                                    equinv_exactness *exactness)
{
    EQI_CHECK(plan && exactness, ARG, "plan or exactness is NULL, expected both");
    const int32_t order = eqi_order(plan->group);
    EQI_CHECK(element >= -1 && element < order, ARG,
              "element is %" PRId32 ", expected -1 (all) or 0 to %" PRId32, element, order - 1);
    equinv_exactness answer = {
        .exact = true, .element = -1, .axis = EQUINV_AXIS_NONE, .text = "exact"};
    const struct eqi_window *const w = &plan->window;
    const int32_t first = element < 0 ? 0 : element, last = element < 0 ? order - 1 : element;
    for (int32_t g = first; w->stride > 0 && answer.exact && g <= last; g++) {
        if (!eqi_on_grid(plan->group, g))
            continue;
        /* r reverses width, r^2 both, r^3 height; a mirror toggles width before the turn. */
        const eqi_motion m = eqi_motion_of(plan->group, g);
        const bool width = m.mirror != (m.turns == 1 || m.turns == 2);
        const bool height = m.turns == 2 || m.turns == 3;
        const int64_t rest_width = width ? remainder_on(w, w->width) : 0;
        const int64_t rest = height && !rest_width ? remainder_on(w, w->height) : rest_width;
        if (!rest)
            continue;
        answer.exact = false;
        answer.element = g;
        answer.axis = rest_width ? EQUINV_AXIS_WIDTH : EQUINV_AXIS_HEIGHT;
        const char *const axis = rest_width ? "width" : "height";
        if (w->transposed)
            eqi_format(answer.text, sizeof answer.text,
                       "element %" PRId32 " reverses the %s, on whose one side are %" PRId64
                       " pixels of output_padding; 0 is exact",
                       g, axis, rest);
        else
            eqi_format(answer.text, sizeof answer.text,
                       "element %" PRId32 " reverses the %s of %" PRId64
                       ", where (size + 2p - d(k-1) - 1) mod stride is %" PRId64
                       "; padding or a size that makes it 0 is exact",
                       g, axis, rest_width ? w->width : w->height, rest);
    }
    *exactness = answer;
    return EQUINV_OK;
}
