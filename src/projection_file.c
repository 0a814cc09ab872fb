/*
 * Projections as safetensors. What describes one are texts in __metadata__, its numbers are tensors:
 * "templates" as used; "numbers" F64 [fill, density, scaled]; "thresholds" F64 and "ranks" I32 where there are
 * some; "table" I32 [order, order] of a group that is no C_n or D_n. Read back, the templates are those of
 * the file, bit for bit.
 */
#include <ctype.h>
#include <errno.h>
#include <stdlib.h>
#include <string.h>

#include "internal/json.h"
#include "internal/projection.h"
#include "internal/safetensors.h"
#include "internal/spectrum.h"

#define FORMAT_KEY "equinv_projection"
#define FORMAT_NUMBER "1"

/* Counts of a description, by the words of files. */
static const struct {
    const char *word;
    size_t offset;
} counts[] = {
    {"fields", offsetof(equinv_projection_desc, fields)},
    {"height", offsetof(equinv_projection_desc, height)},
    {"width", offsetof(equinv_projection_desc, width)},
    {"rows", offsetof(equinv_projection_desc, rows)},
    {"channels", offsetof(equinv_projection_desc, channels)},
    {"k", offsetof(equinv_projection_desc, k)},
};
enum { COUNTS = sizeof counts / sizeof *counts, ITEMS = 5, WORD = 24 };

static const char *const template_words[] = {
    [EQUINV_TEMPLATE_GAUSSIAN] = "gaussian",       [EQUINV_TEMPLATE_RADEMACHER] = "rademacher",
    [EQUINV_TEMPLATE_ORTHONORMAL] = "orthonormal", [EQUINV_TEMPLATE_USER] = "user",
    [EQUINV_TEMPLATE_SPARSE] = "sparse",           [EQUINV_TEMPLATE_HADAMARD] = "hadamard",
};

/* "MEAN_RELU" to "mean-relu" */
static void word_of_kind(equinv_projection_kind kind, char word[WORD])
{
    const char *const name = eqi_projection_kind_name(kind);
    size_t i = 0;
    for (; name[i] && i + 1 < WORD; i++)
        word[i] = (char)(name[i] == '_' ? '-' : tolower((unsigned char)name[i]));
    word[i] = '\0';
}

/* ---- writing */

/* The group's products, [order, order]. */
static equinv_status make_table(equinv_context *ctx, equinv_group group, equinv_tensor *table)
{
    const int64_t order = eqi_order(group);
    EQI_TRY(equinv_tensor_create(ctx, EQUINV_I32, 2, (int64_t[]){order, order}, table));
    for (int64_t i = 0; i < order * order; i++)
        ((int32_t *)table->data)[i] =
            eqi_product(group, (int32_t)(i / order), (int32_t)(i % order));
    return EQUINV_OK;
}

equinv_status equinv_projection_save(const equinv_projection *projection, const char *path)
{
    EQI_CHECK(projection, ARG, "projection is NULL, expected a projection");
    EQI_CHECK(path && *path, ARG, "path is %s, expected a file name", path ? "empty" : "NULL");
    const equinv_projection_desc *const d = &projection->desc;
    const bool with = projection->templates.data != NULL;
    char kind[WORD], group[8] = "table", seed[24], numbers[COUNTS][24];
    eqi_safetensors_pair pairs[6 + COUNTS] = {
        {FORMAT_KEY, FORMAT_NUMBER},
        {"kind", kind},
        {"group", group},
        {"templates", template_words[with ? d->templates : EQUINV_TEMPLATE_GAUSSIAN]},
        {"seed", seed},
        {"dtype", equinv_dtype_name(d->dtype)}};
    /* As text: a seed has 64 bits. */
    eqi_format(seed, sizeof seed, "%" PRIu64, d->seed);
    word_of_kind(d->kind, kind);
    if (d->group.kind != EQUINV_GROUP_TABLE)
        EQI_TRY(equinv_group_name(d->group, group, sizeof group));
    for (int i = 0; i < COUNTS; i++) {
        const char *const member = (const char *)d + counts[i].offset;
        const int64_t value =
            *(const int64_t *)member; /* what a kind does not read may be anything */
        eqi_format(numbers[i], sizeof numbers[i], "%" PRId64, value < 0 ? 0 : value);
        pairs[6 + i] = (eqi_safetensors_pair){counts[i].word, numbers[i]};
    }
    const double reals[3] = {d->fill, d->density, d->scaled};
    equinv_tensor of_reals, thresholds, ranks, table = {0};
    eqi_safetensors_item items[ITEMS] = {{"numbers", &of_reals}};
    int64_t count = 1;
    EQI_TRY(equinv_tensor_init((void *)reals, EQUINV_F64, 1, (int64_t[]){3}, &of_reals));
    if (with)
        items[count++] = (eqi_safetensors_item){"templates", &projection->templates};
    if (d->thresholds) {
        EQI_TRY(equinv_tensor_init((void *)d->thresholds, EQUINV_F64, 1, &d->threshold_count,
                                   &thresholds));
        items[count++] = (eqi_safetensors_item){"thresholds", &thresholds};
    }
    if (d->ranks) {
        EQI_TRY(equinv_tensor_init((void *)d->ranks, EQUINV_I32, 1, &d->rank_count, &ranks));
        items[count++] = (eqi_safetensors_item){"ranks", &ranks};
    }
    equinv_status status = EQUINV_OK;
    if (d->group.kind == EQUINV_GROUP_TABLE) { /* on the CPU: other devices have no tables */
        EQI_TRY(make_table(projection->ctx, d->group, &table));
        items[count++] = (eqi_safetensors_item){"table", &table};
    }
    status = eqi_safetensors_save(projection->ctx, path, pairs, 6 + COUNTS, items, count);
    equinv_tensor_destroy(projection->ctx, &table);
    return status;
}

/* ---- reading */

typedef struct reading {
    equinv_context *ctx;
    eqi_safetensors *file;
    const char *path;
    equinv_projection_desc desc;
    equinv_template_kind made_of;
    equinv_tensor templates, thresholds, ranks, table, numbers;
    int64_t taken; /* tensors of the file that were read */
} reading;

static equinv_status text_of(const reading *r, const char *key, const char **text)
{
    *text = eqi_safetensors_metadata(r->file, key);
    EQI_CHECK(*text, FORMAT, "%s: __metadata__ lacks the key \"%s\" of a projection", r->path, key);
    return EQUINV_OK;
}

static equinv_status number_of(const reading *r, const char *key, uint64_t most, uint64_t *value)
{
    const char *text;
    char quoted[EQI_QUOTED];
    EQI_TRY(text_of(r, key, &text));
    const size_t digits = strspn(text, "0123456789");
    errno = 0;
    *value = strtoull(text, NULL, 10);
    EQI_CHECK(digits > 0 && text[digits] == '\0' && !errno && *value <= most, FORMAT,
              "%s: \"%s\" is %s, expected a whole number up to %" PRIu64, r->path, key,
              eqi_quoted(text, quoted), most);
    return EQUINV_OK;
}

static equinv_status read_words(reading *r)
{
    const char *kind, *group, *templates, *format, *dtype;
    char word[WORD], quoted[EQI_QUOTED];
    int which = EQUINV_PROJECT_LINEAR, made_of = EQUINV_TEMPLATE_GAUSSIAN;
    EQI_TRY(text_of(r, FORMAT_KEY, &format));
    EQI_CHECK(strcmp(format, FORMAT_NUMBER) == 0, FORMAT,
              "%s: \"" FORMAT_KEY "\" is %s, expected \"" FORMAT_NUMBER "\"", r->path,
              eqi_quoted(format, quoted));
    EQI_TRY(text_of(r, "kind", &kind));
    for (; which <= EQUINV_PROJECT_FOURIER; which++) {
        word_of_kind((equinv_projection_kind)which, word);
        if (strcmp(word, kind) == 0)
            break;
    }
    EQI_CHECK(which <= EQUINV_PROJECT_FOURIER, FORMAT,
              "%s: \"kind\" is %s, expected one as \"max\"", r->path, eqi_quoted(kind, quoted));
    r->desc.kind = (equinv_projection_kind)which;
    EQI_TRY(text_of(r, "templates", &templates));
    while (made_of <= EQUINV_TEMPLATE_HADAMARD && strcmp(template_words[made_of], templates) != 0)
        made_of++;
    EQI_CHECK(made_of <= EQUINV_TEMPLATE_HADAMARD, FORMAT,
              "%s: \"templates\" is %s, expected one as \"gaussian\"", r->path,
              eqi_quoted(templates, quoted));
    r->made_of = (equinv_template_kind)made_of;
    EQI_TRY(text_of(r, "dtype", &dtype));
    r->desc.dtype = strcmp(dtype, "f64") == 0 ? EQUINV_F64 : EQUINV_F32;
    EQI_CHECK(strcmp(dtype, equinv_dtype_name(r->desc.dtype)) == 0, FORMAT,
              "%s: \"dtype\" is %s, expected \"f32\" or \"f64\"", r->path,
              eqi_quoted(dtype, quoted));
    EQI_TRY(text_of(r, "group", &group));
    if (strcmp(group, "table") == 0)
        r->desc.group = (equinv_group){EQUINV_GROUP_TABLE, 0};
    else
        EQI_CHECK(equinv_group_parse(group, &r->desc.group) == EQUINV_OK, FORMAT,
                  "%s: \"group\" is %s, expected one as \"C4\", or \"table\"", r->path,
                  eqi_quoted(group, quoted));
    return EQUINV_OK;
}

static equinv_status read_counts(reading *r)
{
    EQI_TRY(number_of(r, "seed", UINT64_MAX, &r->desc.seed));
    for (int i = 0; i < COUNTS; i++) {
        uint64_t value;
        EQI_TRY(number_of(r, counts[i].word, INT64_MAX, &value));
        *(int64_t *)((char *)&r->desc + counts[i].offset) = (int64_t)value;
    }
    return EQUINV_OK;
}

/* A tensor of the file; dtype 0: as the file has it. Not there: data stays NULL. */
static equinv_status read_tensor(reading *r, const char *name, int32_t ndim, equinv_dtype dtype,
                                 equinv_tensor *tensor)
{
    const eqi_safetensors_entry *const e = eqi_safetensors_find(r->file, name);
    if (!e)
        return EQUINV_OK;
    EQI_CHECK(e->array.ndim == ndim && e->dtype && (!dtype || e->dtype == dtype), FORMAT,
              "%s: tensor \"%s\" has %" PRId32 " axes and type %s, expected %" PRId32
              " axes and type %s",
              r->path, name, e->array.ndim, e->word, ndim,
              dtype ? equinv_dtype_name(dtype) : "f32 or f64");
    r->taken++;
    equinv_status status;
    EQI_TRY((dtype ? equinv_tensor_create_pinned : equinv_tensor_create)(r->ctx, e->dtype, ndim,
                                                                         e->array.shape, tensor));
    status = eqi_safetensors_read(r->file, e, tensor);
    return status;
}

static equinv_status read_tensors(reading *r)
{
    equinv_projection_desc *const d = &r->desc;
    int64_t count;
    EQI_TRY(read_tensor(r, "numbers", 1, EQUINV_F64, &r->numbers));
    EQI_CHECK(r->numbers.data && r->numbers.shape[0] == 3, FORMAT,
              "%s: tensor \"numbers\" is not there, expected it with shape [3]", r->path);
    const double *const numbers = r->numbers.data;
    d->fill = numbers[0], d->density = numbers[1], d->scaled = numbers[2] != 0;
    const int32_t axes = d->group.kind == EQUINV_GROUP_SYMMETRIC ? 2 : 5;
    EQI_TRY(read_tensor(r, "templates", axes, (equinv_dtype)0, &r->templates));
    if (r->templates.data) {
        d->templates = EQUINV_TEMPLATE_USER;
        d->user_templates = &r->templates;
    }
    EQI_TRY(read_tensor(r, "thresholds", 1, EQUINV_F64, &r->thresholds));
    if (r->thresholds.data)
        d->thresholds = r->thresholds.data, d->threshold_count = r->thresholds.shape[0];
    EQI_TRY(read_tensor(r, "ranks", 1, EQUINV_I32, &r->ranks));
    if (r->ranks.data)
        d->ranks = r->ranks.data, d->rank_count = r->ranks.shape[0];
    EQI_TRY(read_tensor(r, "table", 2, EQUINV_I32, &r->table));
    EQI_CHECK((r->table.data != NULL) == (d->group.kind == EQUINV_GROUP_TABLE), FORMAT,
              "%s: tensor \"table\" is %s, expected it where the group is one", r->path,
              r->table.data ? "there" : "missing");
    if (r->table.data) {
        EQI_CHECK(r->table.shape[0] == r->table.shape[1] &&
                      r->table.shape[0] <= EQUINV_GROUP_MAX_ORDER,
                  FORMAT, "%s: tensor \"table\" has %" PRId64 " rows and %" PRId64 " columns",
                  r->path, r->table.shape[0], r->table.shape[1]);
        EQI_TRY(equinv_group_from_table((int32_t)r->table.shape[0], r->table.data, &d->group));
    }
    eqi_safetensors_entries(r->file, &count);
    EQI_CHECK(count == r->taken, FORMAT,
              "%s has %" PRId64 " tensors, expected the %" PRId64 " of a projection alone", r->path,
              count, r->taken);
    return EQUINV_OK;
}

/* What is refused in a file is the file's fault, unless memory or this version lacks it. */
static equinv_status blame_file(const reading *r, equinv_status status)
{
    char sentence[512];
    if (status != EQUINV_ERR_ARG && status != EQUINV_ERR_SHAPE && status != EQUINV_ERR_DTYPE)
        return status;
    eqi_format(sentence, sizeof sentence, "%s", equinv_last_error());
    return eqi_fail(EQUINV_ERR_FORMAT, "%s: %s", r->path, sentence);
}

static equinv_status read_projection(reading *r, equinv_projection **projection)
{
    EQI_TRY(read_words(r));
    EQI_TRY(read_counts(r));
    EQI_TRY(read_tensors(r));
    EQI_CHECK(r->templates.data || r->desc.kind == EQUINV_PROJECT_SORT ||
                  eqi_is_spectral(r->desc.kind),
              FORMAT, "%s: tensor \"templates\" is missing", r->path);
    return eqi_projection_create(r->ctx, &r->desc, r->made_of, projection);
}

equinv_status equinv_projection_load(equinv_context *ctx, const char *path, const char *impl,
                                     equinv_projection **projection)
{
    EQI_CHECK(ctx, ARG, "ctx is NULL, expected a context");
    EQI_CHECK(path && *path, ARG, "path is %s, expected a file name", path ? "empty" : "NULL");
    EQI_CHECK(projection, ARG, "projection is NULL, expected where to put it");
    reading r = {.ctx = ctx, .desc = EQUINV_PROJECTION_DESC_INIT};
    r.desc.impl = impl;
    EQI_TRY(eqi_safetensors_open(ctx, path, &r.file));
    r.path = eqi_safetensors_path(r.file);
    const equinv_status status = blame_file(&r, read_projection(&r, projection));
    equinv_tensor *const owned[] = {&r.templates, &r.thresholds, &r.ranks, &r.table, &r.numbers};
    for (size_t i = 0; i < sizeof owned / sizeof *owned; i++)
        equinv_tensor_destroy(ctx, owned[i]);
    eqi_safetensors_close(r.file);
    return status;
}

equinv_status equinv_projection_describe(const equinv_projection *projection,
                                         equinv_projection_desc *desc)
{
    EQI_CHECK(projection, ARG, "projection is NULL, expected a projection");
    EQI_CHECK(desc, ARG, "desc is NULL, expected where to put the description");
    *desc = projection->desc;
    return EQUINV_OK;
}
