/*
 * Model files: safetensors with the description as JSON text in __metadata__.equinv and the arrays as
 * "<layer>.<array>". Written: everything that an operation reads, and nothing else; read: the same.
 */
#include "internal/json.h"
#include "internal/model.h"

#include <math.h>
#include <string.h>

#define FILE_FORMAT 1
#define METADATA_KEY "equinv"

/* ---- writing */

static void write_key(eqi_text *text, const equinv_layer_desc *layer, const eqi_key *key)
{
    const void *const member = (const char *)layer + key->offset;
    eqi_text_add(text, ",\"%s\":", key->word);
    switch (key->type) {
    case EQI_KEY_COUNT: eqi_text_add(text, "%" PRId64, *(const int64_t *)member); break;
    case EQI_KEY_REAL: eqi_text_add(text, "%.17g", *(const double *)member); break;
    case EQI_KEY_FLAG: eqi_text_add(text, "%s", *(const bool *)member ? "true" : "false"); break;
    case EQI_KEY_PADDING:
        eqi_text_add_string(text, eqi_padding_word(*(const equinv_padding_mode *)member));
        break;
    case EQI_KEY_POOL:
        eqi_text_add_string(text, eqi_pool_word(*(const equinv_pool_kind *)member));
        break;
    case EQI_KEY_UPSAMPLE:
        eqi_text_add_string(text, eqi_upsample_word(*(const equinv_upsample_kind *)member));
        break;
    }
}

static void write_layer(eqi_text *text, const eqi_node *node)
{
    const unsigned keys = eqi_layer_keys(&node->desc);
    eqi_text_add(text, "{\"name\":\"%s\",\"op\":\"%s\",\"from\":[", node->name,
                 eqi_layer_op_word(node->desc.op));
    for (int32_t i = 0; i < node->inputs; i++)
        eqi_text_add(text, i ? ",\"%s\"" : "\"%s\"", node->desc.from[i]);
    eqi_text_add(text, "]");
    for (int i = 0; i < EQI_KEYS; i++)
        if (keys >> i & 1)
            write_key(text, &node->desc, &eqi_keys[i]);
    eqi_text_add(text, "}");
}

static equinv_status write_description(const equinv_model *model, eqi_text *text)
{
    const equinv_model_desc *const d = &model->desc;
    char group[8];
    EQI_TRY(equinv_group_name(d->group, group, sizeof group));
    eqi_text_add(text, "{\"format\":%d,\"group\":\"%s\",\"dtype\":\"%s\",", FILE_FORMAT, group,
                 equinv_dtype_name(d->dtype));
    /* As text: JSON numbers are doubles to most readers, and a seed has 64 bits. */
    eqi_text_add(text, "\"seed\":\"%" PRIu64 "\",", d->seed);
    eqi_text_add(text, "\"input\":{\"shape\":[%" PRId64 ",%" PRId64 ",%" PRId64 "],", d->channels,
                 d->height, d->width);
    eqi_text_add(text, "\"scale\":%.17g,\"shift\":%.17g},\"layers\":[", d->scale, d->shift);
    for (int32_t i = 1; i < model->count; i++) {
        eqi_text_add(text, i > 1 ? "," : "");
        write_layer(text, model->nodes[i]);
    }
    eqi_text_add(text, "]}");
    return eqi_text_status(text, "the description of the model");
}

equinv_status equinv_model_save(const equinv_model *model, const char *path)
{
    EQI_CHECK(model, ARG, "model is NULL, expected a model");
    EQI_CHECK(path && *path, ARG, "path is %s, expected a file name", path ? "empty" : "NULL");
    const equinv_context *const ctx = model->ctx;
    const int64_t room = (int64_t)model->count * EQI_ARRAYS;
    eqi_text text = {.ctx = ctx};
    void *memory;
    int64_t count = 0;
    EQI_TRY(eqi_alloc_zeroed(ctx, room, sizeof(eqi_safetensors_item), "a list of arrays", &memory));
    eqi_safetensors_item *const items = memory;
    for (int32_t i = 1; i < model->count; i++)
        for (int which = 0; which < EQI_ARRAYS; which++) {
            const eqi_node *const node = model->nodes[i];
            if (node->array[which].ndim)
                items[count++] =
                    (eqi_safetensors_item){node->array_name[which], &node->array[which]};
        }
    equinv_status status = write_description(model, &text);
    if (status == EQUINV_OK) {
        const eqi_safetensors_pair metadata = {METADATA_KEY, text.at};
        status = eqi_safetensors_save(model->ctx, path, &metadata, 1, items, count);
    }
    eqi_text_free(&text);
    eqi_free(ctx, items, (size_t)room * sizeof *items);
    return status;
}

/* ---- reading */

equinv_status eqi_model_find_array(const eqi_safetensors *file, const char *name, int32_t ndim,
                                   const int64_t *shape, const eqi_safetensors_entry **entry)
{
    const char *const path = eqi_safetensors_path(file);
    const eqi_safetensors_entry *const e = eqi_safetensors_find(file, name);
    char has[128], expected[128];
    EQI_CHECK(e, FORMAT, "%s: tensor \"%s\" is missing, expected it with shape %s", path, name,
              eqi_shape_text(ndim, shape, expected, sizeof expected));
    bool equal = e->array.ndim == ndim;
    for (int32_t i = 0; equal && i < ndim; i++)
        equal = e->array.shape[i] == shape[i];
    EQI_CHECK(equal, FORMAT, "%s: tensor \"%s\" has shape %s, expected %s", path, name,
              eqi_shape_text(e->array.ndim, e->array.shape, has, sizeof has),
              eqi_shape_text(ndim, shape, expected, sizeof expected));
    *entry = e;
    return EQUINV_OK;
}

#ifdef EQI_HAVE_CJSON

#include <cjson/cJSON.h>

/* An object of the description, as sentences name it. */
typedef struct object {
    const char *file;
    char name[EQI_QUOTED + 16];
    const cJSON *json;
} object;

static bool is_one_of(const char *word, const char *const *words, int count)
{
    for (int i = 0; i < count; i++)
        if (strcmp(words[i], word) == 0)
            return true;
    return false;
}

/* Exactly these keys: no other, and none missing. */
static equinv_status check_keys(const object *o, const char *const *words, int count)
{
    char list[256] = "", quoted[EQI_QUOTED];
    size_t used = 0;
    for (int i = 0; i < count && used < sizeof list; i++)
        used += (size_t)eqi_format(list + used, sizeof list - used, i ? ", %s" : "%s", words[i]);
    EQI_CHECK(cJSON_IsObject(o->json), FORMAT, "%s: %s is no object, expected one with %s", o->file,
              o->name, list);
    for (const cJSON *child = o->json->child; child; child = child->next)
        EQI_CHECK(is_one_of(child->string, words, count), FORMAT,
                  "%s: %s has the key %s, expected only %s", o->file, o->name,
                  eqi_quoted(child->string, quoted), list);
    for (int i = 0; i < count; i++)
        EQI_CHECK(cJSON_GetObjectItemCaseSensitive(o->json, words[i]), FORMAT,
                  "%s: %s lacks the key \"%s\", expected %s", o->file, o->name, words[i], list);
    return EQUINV_OK;
}

/* Values of keys that are there; each says what it expected. */
static const cJSON *value_of(const object *o, const char *key)
{
    return cJSON_GetObjectItemCaseSensitive(o->json, key);
}

static equinv_status wrong(const object *o, const char *key, const char *expected)
{
    const cJSON *const json = value_of(o, key);
    char quoted[EQI_QUOTED];
    if (cJSON_IsString(json))
        return eqi_fail(EQUINV_ERR_FORMAT, "%s: %s has \"%s\" %s, expected %s", o->file, o->name,
                        key, eqi_quoted(json->valuestring, quoted), expected);
    if (cJSON_IsNumber(json))
        return eqi_fail(EQUINV_ERR_FORMAT, "%s: %s has \"%s\" %.17g, expected %s", o->file, o->name,
                        key, json->valuedouble, expected);
    return eqi_fail(EQUINV_ERR_FORMAT, "%s: %s has a \"%s\" of another kind, expected %s", o->file,
                    o->name, key, expected);
}

static equinv_status read_text(const object *o, const char *key, const char **text)
{
    const cJSON *const json = value_of(o, key);
    if (!cJSON_IsString(json))
        return wrong(o, key, "a string");
    *text = json->valuestring;
    return EQUINV_OK;
}

static equinv_status read_real(const object *o, const char *key, double *value)
{
    const cJSON *const json = value_of(o, key);
    if (!cJSON_IsNumber(json) || !isfinite(json->valuedouble))
        return wrong(o, key, "a finite number");
    *value = json->valuedouble;
    return EQUINV_OK;
}

static bool is_count(const cJSON *json)
{
    const double value = cJSON_IsNumber(json) ? json->valuedouble : -1;
    return value >= 0 && value <= 0x1p53 && value == floor(value);
}

static equinv_status read_count(const object *o, const char *key, int64_t *value)
{
    const cJSON *const json = value_of(o, key);
    if (!is_count(json))
        return wrong(o, key, "a whole number, 0 to 2^53");
    *value = (int64_t)json->valuedouble;
    return EQUINV_OK;
}

static equinv_status read_flag(const object *o, const char *key, bool *value)
{
    const cJSON *const json = value_of(o, key);
    if (!cJSON_IsBool(json))
        return wrong(o, key, "true or false");
    *value = cJSON_IsTrue(json);
    return EQUINV_OK;
}

/* Enumerators by their words: numbers from `first` on, until there is no word. */
static equinv_status read_word(const object *o, const char *key, int first,
                               const char *(*word_of)(int), int *value)
{
    const char *text = NULL;
    char list[160] = "one of";
    EQI_TRY(read_text(o, key, &text));
    for (int i = first; word_of(i); i++) {
        if (strcmp(word_of(i), text) == 0) {
            *value = i;
            return EQUINV_OK;
        }
        const size_t used = strlen(list);
        eqi_format(list + used, sizeof list - used, " \"%s\"", word_of(i));
    }
    return wrong(o, key, list);
}

static const char *op_word(int op)
{
    return eqi_layer_op_word((equinv_layer_op)op);
}

static const char *pool_word(int kind)
{
    return eqi_pool_word((equinv_pool_kind)kind);
}

static const char *upsample_word(int kind)
{
    return eqi_upsample_word((equinv_upsample_kind)kind);
}

static const char *padding_word(int mode)
{
    return eqi_padding_word((equinv_padding_mode)mode);
}

static equinv_status read_key(const object *o, const eqi_key *key, equinv_layer_desc *layer)
{
    void *const member = (char *)layer + key->offset;
    int value = 0;
    switch (key->type) {
    case EQI_KEY_COUNT: return read_count(o, key->word, member);
    case EQI_KEY_REAL: return read_real(o, key->word, member);
    case EQI_KEY_FLAG: return read_flag(o, key->word, member);
    case EQI_KEY_PADDING:
        EQI_TRY(read_word(o, key->word, EQUINV_PAD_ZEROS, padding_word, &value));
        *(equinv_padding_mode *)member = (equinv_padding_mode)value;
        return EQUINV_OK;
    case EQI_KEY_POOL:
        EQI_TRY(read_word(o, key->word, EQUINV_POOL_MAX, pool_word, &value));
        *(equinv_pool_kind *)member = (equinv_pool_kind)value;
        return EQUINV_OK;
    case EQI_KEY_UPSAMPLE:
        EQI_TRY(read_word(o, key->word, EQUINV_UPSAMPLE_NEAREST, upsample_word, &value));
        *(equinv_upsample_kind *)member = (equinv_upsample_kind)value;
        return EQUINV_OK;
    }
    return EQUINV_OK;
}

static equinv_status read_from(const object *o, equinv_layer_desc *layer)
{
    const cJSON *const from = value_of(o, "from");
    const int inputs = layer->op == EQUINV_LAYER_ADD ? 2 : 1;
    bool good = cJSON_IsArray(from) && cJSON_GetArraySize(from) == inputs;
    for (int i = 0; i < inputs && good; i++) {
        const cJSON *const name = cJSON_GetArrayItem(from, i);
        good = cJSON_IsString(name);
        layer->from[i] = good ? name->valuestring : NULL;
    }
    return good ? EQUINV_OK
                : wrong(o, "from",
                        inputs == 1 ? "a list of one layer's name" : "a list of two layers' names");
}

/* A layer's description; its strings are those of the JSON tree. */
static equinv_status read_layer(object *o, int number, equinv_layer_desc *layer)
{
    const equinv_layer_desc defaults = EQUINV_LAYER_DESC_INIT;
    const char *words[3 + EQI_KEYS] = {"name", "op", "from"};
    char quoted[EQI_QUOTED];
    int op = 0, count = 3;
    eqi_format(o->name, sizeof o->name, "layer number %d", number);
    *layer = defaults;
    EQI_CHECK(cJSON_IsString(value_of(o, "name")), FORMAT,
              "%s: %s has no \"name\" that is a string, expected one", o->file, o->name);
    EQI_TRY(read_text(o, "name", &layer->name));
    eqi_format(o->name, sizeof o->name, "layer %s", eqi_quoted(layer->name, quoted));
    EQI_CHECK(value_of(o, "op"), FORMAT, "%s: %s lacks the key \"op\", expected name, op, from, ..",
              o->file, o->name);
    EQI_TRY(read_word(o, "op", EQUINV_LAYER_CONV, op_word, &op));
    layer->op = (equinv_layer_op)op;
    if (layer->op == EQUINV_LAYER_POOL) {
        /* The kind decides which other keys there are. */
        EQI_CHECK(value_of(o, "pool"), FORMAT, "%s: %s lacks the key \"pool\"", o->file, o->name);
        EQI_TRY(read_word(o, "pool", EQUINV_POOL_MAX, pool_word, &op));
        layer->pool = (equinv_pool_kind)op;
    }
    const unsigned keys = eqi_layer_keys(layer);
    for (int i = 0; i < EQI_KEYS; i++)
        if (keys >> i & 1)
            words[count++] = eqi_keys[i].word;
    EQI_TRY(check_keys(o, words, count));
    EQI_TRY(read_from(o, layer));
    for (int i = 0; i < EQI_KEYS; i++)
        if (keys >> i & 1)
            EQI_TRY(read_key(o, &eqi_keys[i], layer));
    return EQUINV_OK;
}

/* What the model refuses in a file is the file's fault, unless memory or this version lacks it. */
static equinv_status as_file_error(const char *file, equinv_status status)
{
    if (status == EQUINV_OK || status == EQUINV_ERR_NOMEM)
        return status;
    return eqi_fail(status == EQUINV_ERR_UNSUPPORTED ? status : EQUINV_ERR_FORMAT, "%s: %s", file,
                    equinv_last_error());
}

static equinv_status read_shape(const object *o, equinv_model_desc *d)
{
    int64_t *const extents[] = {&d->channels, &d->height, &d->width};
    const cJSON *const shape = value_of(o, "shape");
    bool good = cJSON_IsArray(shape) && cJSON_GetArraySize(shape) == 3;
    for (int i = 0; i < 3 && good; i++) {
        const cJSON *const extent = cJSON_GetArrayItem(shape, i);
        good = is_count(extent);
        *extents[i] = good ? (int64_t)extent->valuedouble : 0;
    }
    return good ? EQUINV_OK : wrong(o, "shape", "three whole numbers: channels, height, width");
}

static equinv_status read_seed(const object *o, uint64_t *seed)
{
    const char *text = NULL;
    EQI_TRY(read_text(o, "seed", &text));
    uint64_t value = 0;
    bool good = *text && (*text != '0' || !text[1]);
    for (; good && *text; text++)
        good = *text >= '0' && *text <= '9' && !__builtin_mul_overflow(value, 10, &value) &&
               !__builtin_add_overflow(value, (uint64_t)(*text - '0'), &value);
    *seed = value;
    return good ? EQUINV_OK : wrong(o, "seed", "a string with a number below 2^64");
}

static equinv_status read_model(equinv_context *ctx, const object *o, equinv_model **model)
{
    static const char *const words[] = {"format", "group", "dtype", "seed", "input", "layers"};
    static const char *const input_words[] = {"shape", "scale", "shift"};
    equinv_model_desc d = EQUINV_MODEL_DESC_INIT;
    int64_t format = 0;
    const char *group = NULL, *dtype = NULL;
    /* The format first: another one may have other keys. */
    if (value_of(o, "format"))
        EQI_TRY(read_count(o, "format", &format));
    EQI_CHECK(!value_of(o, "format") || format == FILE_FORMAT, FORMAT,
              "%s: \"format\" is %" PRId64 ", expected %d", o->file, format, FILE_FORMAT);
    EQI_TRY(check_keys(o, words, sizeof words / sizeof *words));
    EQI_TRY(read_text(o, "group", &group));
    EQI_TRY(as_file_error(o->file, equinv_group_parse(group, &d.group)));
    EQI_TRY(read_text(o, "dtype", &dtype));
    d.dtype = strcmp(dtype, "f64") == 0 ? EQUINV_F64 : EQUINV_F32;
    if (strcmp(dtype, equinv_dtype_name(d.dtype)) != 0)
        return wrong(o, "dtype", "\"f32\" or \"f64\"");
    EQI_TRY(read_seed(o, &d.seed));
    object input = {.file = o->file, .name = "\"input\"", .json = value_of(o, "input")};
    EQI_TRY(check_keys(&input, input_words, sizeof input_words / sizeof *input_words));
    EQI_TRY(read_shape(&input, &d));
    EQI_TRY(read_real(&input, "scale", &d.scale));
    EQI_TRY(read_real(&input, "shift", &d.shift));
    return as_file_error(o->file, equinv_model_create(ctx, &d, model));
}

/* Checked against the file before it gets memory: no small file may ask for a large model. */
static equinv_status read_arrays(const equinv_model *model, eqi_safetensors *file, eqi_node *node,
                                 int64_t *count)
{
    const eqi_safetensors_entry *entries[EQI_ARRAYS] = {NULL};
    for (int which = 0; which < EQI_ARRAYS; which++) {
        const equinv_tensor *const t = &node->array[which];
        const char *const name = node->array_name[which];
        if (t->ndim == 0)
            continue;
        EQI_TRY(eqi_model_find_array(file, name, t->ndim, t->shape, &entries[which]));
        EQI_CHECK(entries[which]->dtype == t->dtype, FORMAT,
                  "%s: tensor \"%s\" has dtype %s, expected %s as the model has",
                  eqi_safetensors_path(file), name, entries[which]->word,
                  t->dtype == EQUINV_F32 ? "F32" : "F64");
        ++*count;
    }
    EQI_TRY(eqi_model_allocate(model, node));
    for (int which = 0; which < EQI_ARRAYS; which++)
        if (entries[which])
            EQI_TRY(eqi_safetensors_read(file, entries[which], &node->array[which]));
    return EQUINV_OK;
}

/* Whether some layer has an array of that name. */
static bool is_used(const equinv_model *model, const char *name)
{
    for (int32_t i = 1; i < model->count; i++)
        for (int which = 0; which < EQI_ARRAYS; which++)
            if (strcmp(model->nodes[i]->array_name[which], name) == 0)
                return true;
    return false;
}

static equinv_status check_no_others(const equinv_model *model, const eqi_safetensors *file,
                                     int64_t used)
{
    int64_t count;
    const eqi_safetensors_entry *const entries = eqi_safetensors_entries(file, &count);
    char quoted[EQI_QUOTED];
    for (int64_t i = 0; used < count && i < count; i++)
        EQI_CHECK(is_used(model, entries[i].name), FORMAT,
                  "%s: tensor %s belongs to no layer, expected only those of the description",
                  eqi_safetensors_path(file), eqi_quoted(entries[i].name, quoted));
    return EQUINV_OK;
}

static equinv_status read_layers(equinv_model *model, const object *o, eqi_safetensors *file)
{
    const cJSON *const layers = value_of(o, "layers");
    if (!cJSON_IsArray(layers))
        return wrong(o, "layers", "a list of layers");
    int64_t used = 0;
    int number = 0;
    for (const cJSON *json = layers->child; json; json = json->next) {
        object item = {.file = o->file, .json = json};
        equinv_layer_desc layer;
        eqi_node *node;
        EQI_TRY(read_layer(&item, number++, &layer));
        EQI_TRY(as_file_error(o->file, eqi_model_prepare(model, &layer, &node)));
        equinv_status status = read_arrays(model, file, node, &used);
        if (status == EQUINV_OK)
            status = eqi_model_link(model, node);
        if (status != EQUINV_OK) {
            eqi_model_release(model, node);
            return status;
        }
    }
    return check_no_others(model, file, used);
}

static equinv_status read_file(equinv_context *ctx, eqi_safetensors *file, equinv_model **model)
{
    const char *const path = eqi_safetensors_path(file);
    const char *const text = eqi_safetensors_metadata(file, METADATA_KEY);
    char what[EQI_PATH_TEXT + 64];
    EQI_CHECK(text, FORMAT, "%s has no metadata \"" METADATA_KEY "\", expected a model's", path);
    eqi_format(what, sizeof what, "%s has a description", path);
    struct cJSON *json;
    EQI_TRY(eqi_json_parse(ctx, what, text, strlen(text), &json));
    object o = {.file = path, .name = "the description", .json = json};
    equinv_status status = read_model(ctx, &o, model);
    if (status == EQUINV_OK)
        status = read_layers(*model, &o, file);
    eqi_json_free(json);
    return status;
}

#else

/* eqi_safetensors_open has said so before. */
static equinv_status read_file(equinv_context *ctx, eqi_safetensors *file, equinv_model **model)
{
    (void)ctx;
    (void)file;
    (void)model;
    return eqi_fail(EQUINV_ERR_UNSUPPORTED, "this build cannot read model files, it has no cJSON");
}

#endif

equinv_status equinv_model_load(equinv_context *ctx, const char *path, equinv_model **model)
{
    EQI_CHECK(ctx, ARG, "ctx is NULL, expected a context");
    EQI_CHECK(path && *path, ARG, "path is %s, expected a file name", path ? "empty" : "NULL");
    EQI_CHECK(model, ARG, "model is NULL, expected where to put the model");
    eqi_safetensors *file;
    equinv_model *made = NULL;
    EQI_TRY(eqi_safetensors_open(ctx, path, &file));
    const equinv_status status = read_file(ctx, file, &made);
    eqi_safetensors_close(file);
    if (status == EQUINV_OK)
        *model = made;
    else
        equinv_model_destroy(made);
    return status;
}
