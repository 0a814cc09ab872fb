#include "internal/safetensors.h"

#include <stdlib.h>
#include <string.h>

#include "internal/json.h"
#include "internal/stage.h"

#ifdef EQI_HAVE_CJSON
#include <cjson/cJSON.h>
#endif

static const char metadata_key[] = "__metadata__";
enum { LENGTH_FIELD = 8 };

static const struct {
    const char *word;
    eqi_stored stored;
    equinv_dtype dtype;
} types[] = {
    {"F32", EQI_STORED_F32, EQUINV_F32},
    {"F64", EQI_STORED_F64, EQUINV_F64},
    {"I32", EQI_STORED_I32, EQUINV_I32},
    {"U8", EQI_STORED_U8, EQUINV_U8},
    {"U32", EQI_STORED_U32, EQUINV_U32},
    {"BOOL", EQI_STORED_BOOL, 0},
    {"I8", EQI_STORED_I8, 0},
    {"I16", EQI_STORED_I16, 0},
    {"U16", EQI_STORED_U16, 0},
    {"I64", EQI_STORED_I64, 0},
    {"U64", EQI_STORED_U64, 0},
    {"F16", EQI_STORED_F16, 0},
    {"BF16", EQI_STORED_BF16, 0},
    {"F8_E5M2", EQI_STORED_F8, 0},
    {"F8_E4M3", EQI_STORED_F8, 0},
};
enum { TYPES = sizeof types / sizeof *types };

/* ---- reading ------------------------------------------------------------------------------------ */

struct eqi_safetensors {
    equinv_context *ctx;
    eqi_input *input;
    struct cJSON *json; /* owns names, words and metadata */
    eqi_safetensors_entry *entries;
    int64_t count;
    int64_t data, size; /* where the tensors' bytes begin, and how many there are */
};

void eqi_safetensors_close(eqi_safetensors *file)
{
    if (!file)
        return;
    eqi_free(file->ctx, file->entries, (size_t)file->count * sizeof *file->entries);
    eqi_json_free(file->json);
    eqi_input_close(file->input);
    eqi_free(file->ctx, file, sizeof *file);
}

const char *eqi_safetensors_path(const eqi_safetensors *file)
{
    return file->input->name;
}

const eqi_safetensors_entry *eqi_safetensors_entries(const eqi_safetensors *file, int64_t *count)
{
    *count = file->count;
    return file->entries;
}

const eqi_safetensors_entry *eqi_safetensors_find(const eqi_safetensors *file, const char *name)
{
    for (int64_t i = 0; i < file->count; i++)
        if (strcmp(file->entries[i].name, name) == 0)
            return &file->entries[i];
    return NULL;
}

/* A tensor as sentences name it. */
enum { LABEL = EQI_PATH_TEXT + EQI_QUOTED + 16 };
static const char *label_of(const eqi_safetensors *file, const char *name, char label[LABEL])
{
    char quoted[EQI_QUOTED];
    eqi_format(label, LABEL, "%s: tensor %s", file->input->name, eqi_quoted(name, quoted));
    return label;
}

static equinv_status read_here(eqi_safetensors *file, const eqi_safetensors_entry *entry,
                               const equinv_tensor *tensor)
{
    char label[LABEL];
    EQI_TRY(eqi_input_seek(file->input, file->data + entry->begin));
    return eqi_input_elements(file->input, label_of(file, entry->name, label), &entry->array, 0,
                              tensor);
}

equinv_status eqi_safetensors_read(eqi_safetensors *file, const eqi_safetensors_entry *entry,
                                   const equinv_tensor *tensor)
{
    equinv_context *const ctx = file->ctx;
    EQI_TRY(eqi_check_output_anywhere(ctx, tensor, "tensor", EQI_ANY));
    EQI_TRY(eqi_check_shape(tensor, "tensor", entry->array.ndim, entry->array.shape));
    if (tensor->device.kind == EQUINV_DEVICE_CPU)
        return read_here(file, entry, tensor);
    equinv_tensor here;
    EQI_TRY(equinv_tensor_create_pinned(ctx, tensor->dtype, tensor->ndim, tensor->shape, &here));
    equinv_status status = read_here(file, entry, &here);
    if (status == EQUINV_OK)
        status = eqi_copy_now(ctx, &here, tensor);
    equinv_tensor_destroy(ctx, &here);
    return status;
}

#ifdef EQI_HAVE_CJSON

/* An integer below 2^53, the first that double does not tell from its neighbour. */
static bool read_integer(const cJSON *json, int64_t *value)
{
    const double number = cJSON_IsNumber(json) ? json->valuedouble : -1;
    if (!(number >= 0 && number < 9007199254740992.0) || number != (double)(int64_t)number)
        return false;
    *value = (int64_t)number;
    return true;
}

static equinv_status read_type(const eqi_safetensors *file, const char *label, const cJSON *json,
                               eqi_safetensors_entry *e)
{
    int row = 0;
    char quoted[EQI_QUOTED];
    (void)file;
    EQI_CHECK(cJSON_IsString(json), FORMAT, "%s has a dtype that is no string", label);
    while (row < TYPES && strcmp(types[row].word, json->valuestring) != 0)
        row++;
    EQI_CHECK(row < TYPES, UNSUPPORTED, "%s has dtype %s, which this version does not know", label,
              eqi_quoted(json->valuestring, quoted));
    e->word = types[row].word;
    e->dtype = types[row].dtype;
    e->array.stored = types[row].stored;
    e->array.swap =
        __BYTE_ORDER__ != __ORDER_LITTLE_ENDIAN__ && eqi_stored_types[types[row].stored].size > 1;
    return EQUINV_OK;
}

static equinv_status read_shape(const eqi_safetensors *file, const char *label, const cJSON *json,
                                eqi_safetensors_entry *e)
{
    (void)file;
    EQI_CHECK(cJSON_IsArray(json), FORMAT, "%s has a shape that is no list", label);
    for (const cJSON *extent = json->child; extent; extent = extent->next) {
        EQI_CHECK(e->array.ndim < EQUINV_MAX_DIMS, UNSUPPORTED, "%s has more than %d axes", label,
                  EQUINV_MAX_DIMS);
        EQI_CHECK(read_integer(extent, &e->array.shape[e->array.ndim]), FORMAT,
                  "%s has a wrong extent on axis %" PRId32
                  ", expected an integer from 0 to 2^53 - 1",
                  label, e->array.ndim);
        e->array.ndim++;
    }
    return EQUINV_OK;
}

static equinv_status read_offsets(const eqi_safetensors *file, const char *label, const cJSON *json,
                                  eqi_safetensors_entry *e)
{
    const cJSON *const first = cJSON_IsArray(json) ? json->child : NULL;
    const cJSON *const second = first ? first->next : NULL;
    EQI_CHECK(second && !second->next && read_integer(first, &e->begin) &&
                  read_integer(second, &e->end),
              FORMAT, "%s has wrong data_offsets, expected two integers from 0 to 2^53 - 1", label);
    EQI_CHECK(e->begin <= e->end && e->end <= file->size, FORMAT,
              "%s has data_offsets %" PRId64 " to %" PRId64
              ", expected them in order within the file's %" PRId64 " bytes of data",
              label, e->begin, e->end, file->size);
    return EQUINV_OK;
}

static equinv_status read_entry(const eqi_safetensors *file, const cJSON *json,
                                eqi_safetensors_entry *e)
{
    static const struct {
        const char *key;
        equinv_status (*read)(const eqi_safetensors *, const char *, const cJSON *,
                              eqi_safetensors_entry *);
    } members[] = {{"dtype", read_type}, {"shape", read_shape}, {"data_offsets", read_offsets}};
    enum { MEMBERS = sizeof members / sizeof *members };
    char label[LABEL], quoted[EQI_QUOTED], shape[192];
    int found = 0;
    e->name = json->string;
    label_of(file, e->name, label);
    EQI_CHECK(cJSON_IsObject(json), FORMAT,
              "%s is no object, expected one of dtype, shape and data_offsets", label);
    for (const cJSON *member = json->child; member; member = member->next) {
        int i = 0;
        while (i < MEMBERS && strcmp(member->string, members[i].key) != 0)
            i++;
        EQI_CHECK(i < MEMBERS, FORMAT, "%s has the key %s, expected dtype, shape and data_offsets",
                  label, eqi_quoted(member->string, quoted));
        EQI_TRY(members[i].read(file, label, member, e));
        found++; /* no key is there twice */
    }
    EQI_CHECK(found == MEMBERS, FORMAT, "%s has %d of the keys dtype, shape and data_offsets",
              label, found);
    EQI_TRY(eqi_array_measure(label, &e->array));
    EQI_CHECK(e->end - e->begin == e->array.bytes, FORMAT,
              "%s has data_offsets %" PRId64 " to %" PRId64 ", expected %" PRId64
              " bytes for shape %s of %s",
              label, e->begin, e->end, e->array.bytes,
              eqi_shape_text(e->array.ndim, e->array.shape, shape, sizeof shape), e->word);
    return EQUINV_OK;
}

static equinv_status read_metadata(const eqi_safetensors *file, const cJSON *json)
{
    char quoted[EQI_QUOTED];
    EQI_CHECK(cJSON_IsObject(json), FORMAT, "%s has a __metadata__ that is no object of strings",
              file->input->name);
    for (const cJSON *value = json->child; value; value = value->next)
        EQI_CHECK(cJSON_IsString(value), FORMAT, "%s has metadata %s that is no string",
                  file->input->name, eqi_quoted(value->string, quoted));
    return EQUINV_OK;
}

static equinv_status read_entries(eqi_safetensors *file)
{
    int64_t count = 0;
    void *memory;
    for (const cJSON *child = file->json->child; child; child = child->next)
        count += strcmp(child->string, metadata_key) != 0;
    EQI_TRY(
        eqi_alloc_zeroed(file->ctx, count, sizeof *file->entries, "a list of tensors", &memory));
    file->entries = memory;
    file->count = count;
    eqi_safetensors_entry *e = file->entries;
    for (const cJSON *child = file->json->child; child; child = child->next)
        if (strcmp(child->string, metadata_key) == 0)
            EQI_TRY(read_metadata(file, child));
        else
            EQI_TRY(read_entry(file, child, e++));
    return EQUINV_OK;
}

static int compare_places(const void *a, const void *b)
{
    const eqi_safetensors_entry *const x = *(const eqi_safetensors_entry *const *)a;
    const eqi_safetensors_entry *const y = *(const eqi_safetensors_entry *const *)b;
    if (x->begin != y->begin)
        return x->begin < y->begin ? -1 : 1;
    return (x->end > y->end) - (x->end < y->end);
}

/* Every byte of the data belongs to one tensor; `order` has them by place. */
static equinv_status check_order(const eqi_safetensors *file,
                                 const eqi_safetensors_entry *const *order)
{
    char label[LABEL], quoted[EQI_QUOTED];
    int64_t at = 0;
    for (int64_t i = 0; i < file->count; at = order[i++]->end) {
        if (order[i]->begin == at)
            continue;
        label_of(file, order[i]->name, label);
        EQI_CHECK(order[i]->begin > at, FORMAT,
                  "%s begins at %" PRId64 ", before %s ends at %" PRId64 ": they overlap", label,
                  order[i]->begin, eqi_quoted(order[i - 1]->name, quoted), at);
        return eqi_fail(EQUINV_ERR_FORMAT,
                        "%s begins at %" PRId64 ", expected %" PRId64 ": there is a gap before it",
                        label, order[i]->begin, at);
    }
    EQI_CHECK(at == file->size, FORMAT,
              "%s has %" PRId64 " bytes of data, expected %" PRId64 ", where its last tensor ends",
              file->input->name, file->size, at);
    return EQUINV_OK;
}

static equinv_status check_places(const eqi_safetensors *file)
{
    const size_t size = (size_t)file->count * sizeof(eqi_safetensors_entry *);
    const eqi_safetensors_entry **const order = eqi_alloc(file->ctx, size);
    EQI_CHECK(order, NOMEM, "out of memory: the order of tensors needs %zu bytes", size);
    for (int64_t i = 0; i < file->count; i++)
        order[i] = &file->entries[i];
    if (file->count > 0)
        qsort(order, (size_t)file->count, sizeof *order, compare_places);
    const equinv_status status = check_order(file, order);
    eqi_free(file->ctx, order, size);
    return status;
}

static equinv_status read_header(eqi_safetensors *file)
{
    eqi_input *const input = file->input;
    unsigned char field[LENGTH_FIELD];
    uint64_t length = 0;
    EQI_CHECK(input->regular, IO, "%s is no regular file, expected one (tensors are read by place)",
              input->name);
    EQI_TRY(eqi_input_need(input, field, sizeof field, "length field"));
    for (int i = 0; i < LENGTH_FIELD; i++)
        length |= (uint64_t)field[i] << 8 * i;
    EQI_CHECK(length <= EQI_HEADER_LIMIT, FORMAT,
              "%s has a header of %" PRIu64 " bytes, expected at most 16 MiB (is it safetensors?)",
              input->name, length);
    const int64_t rest = input->file_size - LENGTH_FIELD;
    EQI_CHECK((int64_t)length <= rest, FORMAT,
              "%s has %" PRId64 " bytes after its length field, expected a header of %" PRIu64,
              input->name, rest, length);
    file->data = LENGTH_FIELD + (int64_t)length;
    file->size = input->file_size - file->data;

    equinv_status status;
    char what[EQI_PATH_TEXT + 16];
    eqi_format(what, sizeof what, "%s has a header", input->name);
    char *const text = eqi_alloc(file->ctx, length);
    EQI_CHECK(text, NOMEM, "out of memory: the header of %s needs %" PRIu64 " bytes", input->name,
              length);
    EQI_TRY_GOTO(status, out, eqi_input_need(input, text, length, "header"));
    status = length > 0 && *text == '{'
                 ? eqi_json_parse(file->ctx, what, text, length, &file->json)
                 : eqi_fail(EQUINV_ERR_FORMAT, "%s that does not begin with {", what);
out:
    eqi_free(file->ctx, text, length);
    return status;
}

const char *eqi_safetensors_metadata(const eqi_safetensors *file, const char *key)
{
    const cJSON *const metadata = cJSON_GetObjectItemCaseSensitive(file->json, metadata_key);
    const cJSON *const value = cJSON_GetObjectItemCaseSensitive(metadata, key);
    return value ? value->valuestring : NULL;
}

equinv_status eqi_safetensors_open(equinv_context *ctx, const char *path, eqi_safetensors **opened)
{
    equinv_status status;
    void *memory;
    EQI_TRY(eqi_alloc_zeroed(ctx, 1, sizeof(eqi_safetensors), "a safetensors file", &memory));
    eqi_safetensors *const file = memory;
    file->ctx = ctx;
    EQI_TRY_GOTO(status, out, eqi_input_open(ctx, path, false, &file->input));
    EQI_TRY_GOTO(status, out, read_header(file));
    EQI_TRY_GOTO(status, out, read_entries(file));
    EQI_TRY_GOTO(status, out, check_places(file));
    *opened = file;
    return EQUINV_OK;
out:
    eqi_safetensors_close(file);
    return status;
}

#else

const char *eqi_safetensors_metadata(const eqi_safetensors *file, const char *key)
{
    (void)file;
    (void)key;
    return NULL;
}

equinv_status eqi_safetensors_open(equinv_context *ctx, const char *path, eqi_safetensors **opened)
{
    char name[EQI_PATH_TEXT];
    (void)ctx;
    (void)opened;
    return eqi_fail(EQUINV_ERR_UNSUPPORTED,
                    "%s has a header in JSON, which this build cannot read (it has no cJSON)",
                    eqi_path_text(path, name));
}

#endif

/* ---- writing ------------------------------------------------------------------------------------ */

static equinv_status check_name(const char *kind, const char *name)
{
    char quoted[EQI_QUOTED];
    EQI_CHECK(name, ARG, "%s is NULL, expected text", kind);
    EQI_CHECK(eqi_is_utf8(name, strlen(name)), ARG, "%s is %s, expected UTF-8", kind,
              eqi_quoted(name, quoted));
    return EQUINV_OK;
}

static equinv_status check_pairs(const eqi_safetensors_pair *metadata, int64_t pairs)
{
    char quoted[EQI_QUOTED];
    for (int64_t i = 0; i < pairs; i++) {
        EQI_TRY(check_name("key of metadata", metadata[i].key));
        EQI_TRY(check_name("value of metadata", metadata[i].value));
        for (int64_t k = 0; k < i; k++)
            EQI_CHECK(strcmp(metadata[i].key, metadata[k].key) != 0, ARG,
                      "key of metadata is %s twice, expected different ones",
                      eqi_quoted(metadata[i].key, quoted));
    }
    return EQUINV_OK;
}

static equinv_status check_items(const equinv_context *ctx, const eqi_safetensors_item *items,
                                 int64_t count)
{
    char quoted[EQI_QUOTED];
    for (int64_t i = 0; i < count; i++) {
        EQI_TRY(check_name("name of a tensor", items[i].name));
        eqi_quoted(items[i].name, quoted);
        EQI_CHECK(strcmp(items[i].name, metadata_key) != 0, ARG,
                  "name of a tensor is %s, which the format reserves", quoted);
        EQI_TRY(eqi_check_anywhere(ctx, items[i].tensor, quoted, EQI_ANY));
        for (int64_t k = 0; k < i; k++)
            EQI_CHECK(strcmp(items[i].name, items[k].name) != 0, ARG,
                      "name of a tensor is %s twice, expected different ones", quoted);
    }
    return EQUINV_OK;
}

static const char *word_of(equinv_dtype dtype)
{
    int row = 0;
    while (types[row].dtype != dtype)
        row++;
    return types[row].word;
}

static void add_item(eqi_text *text, const eqi_safetensors_item *item, int64_t *end)
{
    const equinv_tensor *const t = item->tensor;
    const int64_t begin = *end;
    *end += equinv_tensor_count(t) * (int64_t)equinv_dtype_size(t->dtype);
    eqi_text_add_string(text, item->name);
    eqi_text_add(text, ":{\"dtype\":\"%s\",\"shape\":[", word_of(t->dtype));
    for (int32_t i = 0; i < t->ndim; i++)
        eqi_text_add(text, i ? ",%" PRId64 : "%" PRId64, t->shape[i]);
    eqi_text_add(text, "],\"data_offsets\":[%" PRId64 ",%" PRId64 "]}", begin, *end);
}

/* The length field and the header, padded so that the data begin at a multiple of eight. */
static void make_header(eqi_text *text, const eqi_safetensors_pair *metadata, int64_t pairs,
                        const eqi_safetensors_item *items, int64_t count)
{
    int64_t end = 0;
    eqi_text_add(text, "{");
    if (pairs > 0) {
        eqi_text_add(text, "\"%s\":{", metadata_key);
        for (int64_t i = 0; i < pairs; i++) {
            eqi_text_add(text, i ? "," : "");
            eqi_text_add_string(text, metadata[i].key);
            eqi_text_add(text, ":");
            eqi_text_add_string(text, metadata[i].value);
        }
        eqi_text_add(text, count > 0 ? "}," : "}");
    }
    for (int64_t i = 0; i < count; i++) {
        eqi_text_add(text, i ? "," : "");
        add_item(text, &items[i], &end);
    }
    eqi_text_add(text, "}");
    eqi_text_add(text, "%*s", (int)(-text->length & 7), "");
}

static equinv_status write_rows(void *arg, const equinv_tensor *rows)
{
    return eqi_output_tensor(arg, rows);
}

equinv_status eqi_safetensors_save(equinv_context *ctx, const char *path,
                                   const eqi_safetensors_pair *metadata, int64_t pairs,
                                   const eqi_safetensors_item *items, int64_t count)
{
    EQI_TRY(check_pairs(metadata, pairs));
    EQI_TRY(check_items(ctx, items, count));
    equinv_status status;
    eqi_output *output = NULL;
    eqi_text text = {.ctx = ctx};
    unsigned char field[LENGTH_FIELD];
    make_header(&text, metadata, pairs, items, count);
    EQI_TRY_GOTO(status, out, eqi_text_status(&text, "a safetensors header"));
    if (text.length > EQI_HEADER_LIMIT) {
        status = eqi_fail(EQUINV_ERR_UNSUPPORTED,
                          "the header would have %zu bytes, expected at most 16 MiB", text.length);
        goto out;
    }
    EQI_TRY_GOTO(status, out, eqi_output_create(ctx, path, &output));
    for (int i = 0; i < LENGTH_FIELD; i++)
        field[i] = (unsigned char)((uint64_t)text.length >> 8 * i);
    EQI_TRY_GOTO(status, out, eqi_output_write(output, field, sizeof field));
    EQI_TRY_GOTO(status, out, eqi_output_write(output, text.at, text.length));
    for (int64_t i = 0; i < count; i++)
        EQI_TRY_GOTO(status, out, eqi_stage_out(ctx, items[i].tensor, write_rows, output));
    status = eqi_output_commit(output);
    output = NULL;
out:
    eqi_output_abort(output);
    eqi_text_free(&text);
    return status;
}
