/* Options that several commands share, numbers in them, and what a file of latents may look like. */
#include <errno.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>

#include "tools/tool.h"

/* strtoll and strtod skip white space in front; an option's text must begin with the number. */
static bool begins_with_space(const char *text)
{
    return *text == '\0' || strchr(" \t\n\v\f\r", *text) != NULL;
}

bool option_integer(const char *option, const char *text, int64_t low, int64_t high, int64_t *value)
{
    char *end;
    errno = 0;
    const long long number = strtoll(text, &end, 10);
    if (begins_with_space(text) || *end || errno || number < low || number > high) {
        tool_misused("%s is \"%s\", expected a whole number from %" PRId64 " to %" PRId64, option,
                     text, low, high);
        return false;
    }
    *value = number;
    return true;
}

bool option_seed(const char *option, const char *text, uint64_t *value)
{
    char *end;
    errno = 0;
    const unsigned long long number = strtoull(text, &end, 10);
    if (begins_with_space(text) || *text == '-' || *end || errno) {
        tool_misused("%s is \"%s\", expected a whole number from 0 to %" PRIu64, option, text,
                     UINT64_MAX);
        return false;
    }
    *value = number;
    return true;
}

bool option_number(const char *option, const char *text, double *value)
{
    char *end;
    errno = 0;
    const double number = strtod(text, &end);
    /* Underflow (ERANGE with a tiny result) is an answer, overflow is not. */
    if (begins_with_space(text) || *end || (errno && (number > 1 || number < -1))) {
        tool_misused("%s is \"%s\", expected a number", option, text);
        return false;
    }
    *value = number;
    return true;
}

/* ---- words ---------------------------------------------------------------------------------- */

const word kind_words[] = {
    {"linear", EQUINV_PROJECT_LINEAR},
    {"max", EQUINV_PROJECT_MAX},
    {"mean", EQUINV_PROJECT_MEAN},
    {"mean-relu", EQUINV_PROJECT_MEAN_RELU},
    {"mean-abs", EQUINV_PROJECT_MEAN_ABS},
    {"mean-square", EQUINV_PROJECT_MEAN_SQUARE},
    {"sorted", EQUINV_PROJECT_SORTED},
    {"orbit", EQUINV_PROJECT_ORBIT},
    {"min", EQUINV_PROJECT_MIN},
    {"moment3", EQUINV_PROJECT_MOMENT3},
    {"cdf", EQUINV_PROJECT_CDF},
    {"sort", EQUINV_PROJECT_SORT},
    {"project-sort", EQUINV_PROJECT_PROJECT_SORT},
    {"power", EQUINV_PROJECT_POWER},
    {"bispectrum", EQUINV_PROJECT_BISPECTRUM},
    {"bispectrum-full", EQUINV_PROJECT_BISPECTRUM_FULL},
    {"triple", EQUINV_PROJECT_TRIPLE},
    {"fourier", EQUINV_PROJECT_FOURIER},
    {NULL, 0},
};
static const word templates[] = {
    {"gaussian", EQUINV_TEMPLATE_GAUSSIAN},       {"rademacher", EQUINV_TEMPLATE_RADEMACHER},
    {"orthonormal", EQUINV_TEMPLATE_ORTHONORMAL}, {"sparse", EQUINV_TEMPLATE_SPARSE},
    {"hadamard", EQUINV_TEMPLATE_HADAMARD},       {NULL, 0},
};
static const word devices[] = {
    {"auto", EQUINV_DEVICE_AUTO},
    {"cpu", EQUINV_DEVICE_CPU},
    {"cuda", EQUINV_DEVICE_CUDA},
    {NULL, 0},
};

bool option_word(const char *option, const char *text, const word *words, int *value)
{
    char all[256] = "";
    for (const word *w = words; w->name; w++) {
        if (strcmp(text, w->name) == 0) {
            *value = w->value;
            return true;
        }
        strncat(all, w == words ? "" : ", ", sizeof all - strlen(all) - 1);
        strncat(all, w->name, sizeof all - strlen(all) - 1);
    }
    tool_misused("%s is \"%s\", expected one of: %s", option, text, all);
    return false;
}

const char *word_name(const word *words, int value)
{
    for (const word *w = words; w->name; w++)
        if (w->value == value)
            return w->name;
    return "?";
}

bool option_kind(const char *option, const char *text, equinv_projection_kind *kind)
{
    int value;
    if (!option_word(option, text, kind_words, &value))
        return false;
    *kind = (equinv_projection_kind)value;
    return true;
}

const char *kind_name(equinv_projection_kind kind)
{
    return word_name(kind_words, (int)kind);
}

const char *templates_name(equinv_template_kind kind)
{
    return word_name(templates, (int)kind);
}

bool kind_of_rows(equinv_projection_kind kind)
{
    return kind == EQUINV_PROJECT_SORT || kind == EQUINV_PROJECT_PROJECT_SORT;
}

/* ---- device --------------------------------------------------------------------------------- */

enum { KEY_DEVICE = 1, KEY_THREADS };

static error_t parse_device(int key, char *argument, struct argp_state *state)
{
    equinv_context_desc *const desc = state->input;
    int64_t number;
    int value;
    switch (key) {
    case KEY_DEVICE:
        if (!option_word("--device", argument, devices, &value))
            return EINVAL;
        desc->device = (equinv_device_kind)value;
        return 0;
    case KEY_THREADS:
        if (!option_integer("--threads", argument, 0, 1024, &number))
            return EINVAL;
        desc->threads = (int32_t)number;
        return 0;
    default: return ARGP_ERR_UNKNOWN;
    }
}

const struct argp device_argp = {
    .options =
        (const struct argp_option[]){
            {"device", KEY_DEVICE, "DEVICE", 0, "auto (the default), cpu or cuda", 8},
            {"threads", KEY_THREADS, "N", 0, "threads on the CPU; 0, the default: every core", 8},
            {0},
        },
    .parser = parse_device,
};

/* ---- projection ----------------------------------------------------------------------------- */

enum {
    KEY_GROUP = 1,
    KEY_KIND,
    KEY_SEED,
    KEY_TEMPLATES,
    KEY_SCALED,
    KEY_IMPL,
    KEY_CDF,
    KEY_RANKS,
    KEY_DENSITY
};

/* Templates are counted as the library counts extents. */
#define MOST_TEMPLATES (INT64_C(1) << 40)

static error_t parse_templates(int key, char *argument, struct argp_state *state)
{
    projection_options *const options = state->input;
    equinv_projection_desc *const desc = &options->desc;
    bool good = true;
    int value;
    switch (key) {
    case 'k': good = option_integer("--k", argument, 1, MOST_TEMPLATES, &desc->k); break;
    case KEY_SEED: good = option_seed("--seed", argument, &desc->seed); break;
    case KEY_TEMPLATES:
        good = option_word("--templates", argument, templates, &value);
        if (good)
            desc->templates = (equinv_template_kind)value;
        break;
    case KEY_SCALED: desc->scaled = true; break;
    case KEY_DENSITY: good = option_number("--density", argument, &desc->density); break;
    case KEY_IMPL: desc->impl = argument; break;
    default: return ARGP_ERR_UNKNOWN;
    }
    options->templates_given = true;
    return good ? 0 : EINVAL;
}

/* Reads the next number of a list that commas separate; *text is NULL behind the last one. */
static bool next_number(const char *option, const char **text, double *value)
{
    char number[64];
    const size_t length = strcspn(*text, ",");
    snprintf(number, sizeof number, "%.*s", (int)(length < 63 ? length : 63), *text);
    *text = (*text)[length] ? *text + length + 1 : NULL;
    return option_number(option, number, value);
}

static bool read_thresholds(const char *text, projection_options *o)
{
    equinv_projection_desc *const desc = &o->desc;
    desc->thresholds = o->thresholds;
    for (desc->threshold_count = 0; text && desc->threshold_count < LIST_MOST;)
        if (!next_number("--thresholds", &text, &o->thresholds[desc->threshold_count++]))
            return false;
    if (text)
        tool_misused("--thresholds has more than %d numbers", LIST_MOST);
    return !text;
}

static bool read_ranks(const char *text, projection_options *o)
{
    equinv_projection_desc *const desc = &o->desc;
    desc->ranks = o->ranks;
    for (desc->rank_count = 0; text && desc->rank_count < LIST_MOST;) {
        double value;
        if (!next_number("--ranks", &text, &value))
            return false;
        if (!(value >= 0 && value < INT32_MAX) || value != (double)(int32_t)value) {
            tool_misused("--ranks has %g, expected whole numbers from 0", value);
            return false;
        }
        o->ranks[desc->rank_count++] = (int32_t)value;
    }
    if (text)
        tool_misused("--ranks has more than %d numbers", LIST_MOST);
    return !text;
}

const struct argp templates_argp = {
    .options =
        (const struct argp_option[]){
            {"k", 'k', "K", 0, "number of templates; default 64", 2},
            {"seed", KEY_SEED, "SEED", 0, "seed of the templates; default 0", 2},
            {"templates", KEY_TEMPLATES, "WORD", 0,
             "gaussian (the default), rademacher, orthonormal, sparse or hadamard", 2},
            {"density", KEY_DENSITY, "S", 0,
             "of sparse templates: the share of numbers that are not 0; default 1/3", 2},
            {"scaled", KEY_SCALED, NULL, 0, "divide inner products by sqrt(k)", 2},
            {"impl", KEY_IMPL, "NAME", 0,
             "force an implementation of the projection by name, e.g. ref", 2},
            {0},
        },
    .parser = parse_templates,
};

static error_t parse_projection(int key, char *argument, struct argp_state *state)
{
    projection_options *const options = state->input;
    equinv_projection_desc *const desc = &options->desc;
    bool good = true;
    switch (key) {
    case ARGP_KEY_INIT: state->child_inputs[0] = options; break;
    case KEY_GROUP:
        good = option_group(argument, &desc->group);
        options->group = argument;
        break;
    case KEY_KIND:
        good = option_kind("--kind", argument, &desc->kind);
        options->kind_given = true;
        break;
    case KEY_CDF: good = read_thresholds(argument, options); break;
    case KEY_RANKS: good = read_ranks(argument, options); break;
    default: return ARGP_ERR_UNKNOWN;
    }
    return good ? 0 : EINVAL;
}

const struct argp projection_argp = {
    .options =
        (const struct argp_option[]){
            {"group", KEY_GROUP, "GROUP", 0, GROUP_HELP, 1},
            {"kind", KEY_KIND, "KIND", 0,
             "linear (the default), max, min, mean, mean-relu, mean-abs, mean-square, moment3, "
             "cdf, sorted, orbit (not invariant); without templates: power, bispectrum, "
             "bispectrum-full, triple, fourier (not invariant); for S: sort, project-sort",
             1},
            {"thresholds", KEY_CDF, "X,..", 0,
             "for cdf: what the numbers of an orbit are compared with", 1},
            {"ranks", KEY_RANKS, "N,..", 0,
             "for sorted: the places that are wanted, 0 the smallest; default all", 1},
            {0},
        },
    .parser = parse_projection,
    .children = (const struct argp_child[]){{&templates_argp, 0, NULL, 0}, {0}},
};

int projection_group(projection_options *options)
{
    const bool of_rows = kind_of_rows(options->desc.kind);
    if (!options->group && of_rows)
        options->desc.group = equinv_symmetric();
    if (options->desc.kind == EQUINV_PROJECT_CDF && !options->desc.thresholds)
        return tool_misused(
            "--thresholds is missing, expected numbers for --kind cdf, e.g. -1,0,1");
    if (options->group || of_rows)
        return -1;
    return tool_misused("--group is missing, expected the group that acts on the latents, e.g. C4");
}

/* ---- latents -------------------------------------------------------------------------------- */

const char *shape_text(int32_t ndim, const int64_t *shape, char *text, size_t size)
{
    size_t used = (size_t)snprintf(text, size, "[");
    for (int32_t i = 0; i < ndim && used < size; i++)
        used += (size_t)snprintf(text + used, size - used, "%s%" PRId64, i ? ", " : "", shape[i]);
    if (used < size)
        snprintf(text + used, size - used, "]");
    return text;
}

static int refuse_shape(const char *path, const equinv_tensor *array, const char *expected)
{
    char has[200];
    return tool_fail("%s has shape %s, expected %s", path,
                     shape_text(array->ndim, array->shape, has, sizeof has), expected);
}

int projection_shape(const char *path, const equinv_tensor *array, equinv_projection_desc *desc)
{
    desc->dtype = array->dtype == EQUINV_F64 ? EQUINV_F64 : EQUINV_F32;
    if (desc->group.kind == EQUINV_GROUP_SYMMETRIC) {
        if (array->ndim != 2 && array->ndim != 3)
            return refuse_shape(path, array, "[B, rows, channels] or [B, rows] (group S)");
        desc->rows = array->shape[1];
        desc->channels = array->ndim == 3 ? array->shape[2] : 1;
        return -1;
    }
    int32_t order;
    char name[16], expected[256];
    if (equinv_group_order(desc->group, &order) ||
        equinv_group_name(desc->group, name, sizeof name))
        return tool_refused();
    snprintf(expected, sizeof expected,
             "[B, fields, %" PRId32 "], [B, fields, %" PRId32 ", H, W], [B, fields * %" PRId32
             ", H, W] or [B, D] with D a multiple of %" PRId32 " (group %s)",
             order, order, order, order, name);
    const int32_t ndim = array->ndim;
    const bool split = ndim == 3 || ndim == 5; /* fields and elements have their own axes */
    if (ndim < 2 || ndim > 5 || (split && array->shape[2] != order) ||
        (!split && array->shape[1] % order != 0))
        return refuse_shape(path, array, expected);
    desc->fields = split ? array->shape[1] : array->shape[1] / order;
    desc->height = ndim >= 4 ? array->shape[ndim - 2] : 1;
    desc->width = ndim >= 4 ? array->shape[ndim - 1] : 1;
    return -1;
}

equinv_status load_real(equinv_context *ctx, const char *path, equinv_tensor *latents)
{
    equinv_tensor loaded;
    equinv_status status = equinv_tensor_load(ctx, path, &loaded);
    if (status || loaded.dtype == EQUINV_F32 || loaded.dtype == EQUINV_F64) {
        if (!status)
            *latents = loaded;
        return status;
    }
    status = equinv_tensor_create(ctx, EQUINV_F32, loaded.ndim, loaded.shape, latents);
    if (!status)
        status = equinv_tensor_convert(ctx, &loaded, 1.0, 0.0, latents);
    equinv_tensor_destroy(ctx, &loaded);
    return status;
}

bool same_file(const char *a, const char *b)
{
    struct stat sa, sb;
    return stat(a, &sa) == 0 && stat(b, &sb) == 0 && S_ISREG(sa.st_mode) &&
           sa.st_dev == sb.st_dev && sa.st_ino == sb.st_ino;
}
