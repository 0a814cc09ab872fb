/* The group that acts: by its name, or from a file of products or of permutations. */
#include <string.h>

#include "tools/tool.h"

static equinv_status by_products(const equinv_tensor *n, equinv_group *group)
{
    return equinv_group_from_table((int32_t)n->shape[0], n->data, group);
}

static equinv_status by_generators(const equinv_tensor *n, equinv_group *group)
{
    return equinv_group_from_permutations((int32_t)n->shape[1], (int32_t)n->shape[0], n->data,
                                          group, NULL);
}

static const struct source {
    const char *prefix, *shape;
    bool square;
    equinv_status (*make)(const equinv_tensor *numbers, equinv_group *group);
} sources[] = {
    {"table:", "[order, order]", true, by_products},
    {"generators:", "[count, degree]", false, by_generators},
};

static bool refused(void)
{
    tool_misused("--group: %s", equinv_last_error());
    return false;
}

/* The integers of a file in the source's shape. */
static bool load_numbers(equinv_context *ctx, const struct source *source, const char *path,
                         equinv_tensor *numbers)
{
    char has[200];
    equinv_tensor loaded;
    if (equinv_tensor_load(ctx, path, &loaded))
        return refused();
    const int64_t *const n = loaded.shape;
    bool good = loaded.dtype != EQUINV_F32 && loaded.dtype != EQUINV_F64 && loaded.ndim == 2 &&
                n[0] <= INT32_MAX && n[1] <= INT32_MAX && (!source->square || n[0] == n[1]);
    if (!good)
        tool_misused("--group: %s holds %s %s, expected integers %s", path,
                     equinv_dtype_name(loaded.dtype), shape_text(loaded.ndim, n, has, sizeof has),
                     source->shape);
    else if (equinv_tensor_create(ctx, EQUINV_I32, 2, n, numbers) ||
             equinv_tensor_convert(ctx, &loaded, 1, 0, numbers))
        good = refused();
    equinv_tensor_destroy(ctx, &loaded);
    return good;
}

static bool group_of_file(const struct source *source, const char *path, equinv_group *group)
{
    equinv_context_desc here = EQUINV_CONTEXT_DESC_INIT;
    equinv_context *ctx = NULL;
    equinv_tensor numbers = {0};
    here.device = EQUINV_DEVICE_CPU;
    here.threads = 1;
    bool good = equinv_context_create(&here, &ctx) == EQUINV_OK || refused();
    good = good && load_numbers(ctx, source, path, &numbers) &&
           (source->make(&numbers, group) == EQUINV_OK || refused());
    equinv_tensor_destroy(ctx, &numbers);
    equinv_context_destroy(ctx);
    return good;
}

bool option_group(const char *text, equinv_group *group)
{
    for (size_t i = 0; i < sizeof sources / sizeof *sources; i++) {
        const size_t length = strlen(sources[i].prefix);
        if (strncmp(text, sources[i].prefix, length) == 0)
            return group_of_file(&sources[i], text + length, group);
    }
    return equinv_group_parse(text, group) == EQUINV_OK || refused();
}

const char *group_text(const char *given, equinv_group group, char *text, size_t size)
{
    if (given)
        return given;
    return equinv_group_name(group, text, size) == EQUINV_OK ? text : "";
}
