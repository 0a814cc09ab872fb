/* Reading parameters and arrays of a case, and comparing with them. */
#include "tests/golden/golden.h"

#ifdef EQI_HAVE_CJSON
#include <float.h>
#include <math.h>

const equinv_dtype golden_dtypes[2] = {EQUINV_F64, EQUINV_F32};

/* ---- parameters ------------------------------------------------------------------------------- */

static const cJSON *item(const golden_case *c, const char *name)
{
    return cJSON_GetObjectItemCaseSensitive(c->json, name);
}

const cJSON *want_item(golden_case *c, const char *name)
{
    const cJSON *const found = item(c, name);
    if (!found)
        MALFORMED(c, "case.json has no \"%s\"", name);
    return found;
}

/* A whole number that a double holds exactly. */
static bool whole(const cJSON *value, int64_t *number)
{
    const double limit = 9007199254740992.0;
    if (!cJSON_IsNumber(value) || value->valuedouble != floor(value->valuedouble) ||
        fabs(value->valuedouble) > limit)
        return false;
    *number = (int64_t)value->valuedouble;
    return true;
}

int64_t want_int(golden_case *c, const char *name)
{
    int64_t number = 0;
    if (!whole(want_item(c, name), &number))
        MALFORMED(c, "\"%s\" of case.json is no whole number", name);
    return number;
}

int64_t optional_int(golden_case *c, const char *name, int64_t fallback)
{
    return item(c, name) ? want_int(c, name) : fallback;
}

double want_number(golden_case *c, const char *name)
{
    const cJSON *const found = want_item(c, name);
    if (!cJSON_IsNumber(found))
        MALFORMED(c, "\"%s\" of case.json is no number", name);
    return found->valuedouble;
}

bool want_bool(golden_case *c, const char *name)
{
    const cJSON *const found = want_item(c, name);
    if (!cJSON_IsBool(found))
        MALFORMED(c, "\"%s\" of case.json is neither true nor false", name);
    return cJSON_IsTrue(found);
}

bool optional_bool(golden_case *c, const char *name, bool fallback)
{
    return item(c, name) ? want_bool(c, name) : fallback;
}

const char *want_text(golden_case *c, const char *name)
{
    const cJSON *const found = want_item(c, name);
    if (!cJSON_IsString(found))
        MALFORMED(c, "\"%s\" of case.json is no text", name);
    return found->valuestring;
}

int32_t order_of(equinv_group group)
{
    int32_t order = 0;
    return equinv_group_order(group, &order) == EQUINV_OK ? order : 0;
}

equinv_group want_group(golden_case *c, const char *name)
{
    equinv_group group;
    const char *const text = want_text(c, name);
    if (equinv_group_parse(text, &group) != EQUINV_OK || order_of(group) == 0)
        stop_case(c, SKIPPED, "group %s is not built", text);
    return group;
}

void want_grid_group(golden_case *c, equinv_group group)
{
    char name[8] = "?";
    if (group.n == 1 || group.n == 2 || group.n == 4)
        return;
    equinv_group_name(group, name, sizeof name);
    stop_case(c, SKIPPED, "group %s is not built here, only C1 C2 C4 D1 D2 D4", name);
}

field_list want_fields(golden_case *c, const char *name, equinv_group group)
{
    const cJSON *const list = want_item(c, name), *entry;
    field_list fields = {0};
    if (!cJSON_IsArray(list) || cJSON_GetArraySize(list) == 0)
        MALFORMED(c, "\"%s\" of case.json is no list of fields", name);
    cJSON_ArrayForEach(entry, list)
    {
        const char *const word = cJSON_GetStringValue(cJSON_GetArrayItem(entry, 0));
        int64_t count;
        if (!word || !whole(cJSON_GetArrayItem(entry, 1), &count) || count < 1 || count > 1 << 30)
            MALFORMED(c, "\"%s\" of case.json has an entry other than [kind, count]", name);
        const bool regular = strcmp(word, "regular") == 0;
        if (!regular && strcmp(word, "trivial") != 0)
            stop_case(c, SKIPPED, "fields of kind %s are not built", word);
        const int64_t elements = regular ? order_of(group) : 1;
        struct field_block *last = &fields.block[fields.blocks > 0 ? fields.blocks - 1 : 0];
        if (fields.blocks == 0 || last->elements != elements) {
            if (fields.blocks == MAX_BLOCKS)
                stop_case(c, SKIPPED, "more than %d kinds of fields in a row", MAX_BLOCKS);
            last = &fields.block[fields.blocks++];
            *last = (struct field_block){elements, 0, fields.fields, fields.channels};
        }
        last->fields += count;
        fields.fields += count;
        fields.channels += count * elements;
    }
    return fields;
}

/* ---- arrays ----------------------------------------------------------------------------------- */

static golden_array *find_array(const golden_case *c, const char *name)
{
    for (size_t i = 0; i < c->array_count; i++)
        if (strcmp(c->arrays[i].name, name) == 0)
            return &c->arrays[i];
    return NULL;
}

bool has_array(const golden_case *c, const char *name)
{
    return find_array(c, name) != NULL;
}

/* The file must have the shape and element type that case.json says. */
static void check_listed(golden_case *c, const golden_array *array)
{
    static const struct {
        const char *word;
        equinv_dtype dtype;
    } words[] = {{"float64", EQUINV_F64},
                 {"float32", EQUINV_F32},
                 {"int32", EQUINV_I32},
                 {"uint32", EQUINV_U32}};
    const cJSON *const entry =
        cJSON_GetObjectItemCaseSensitive(want_item(c, "arrays"), array->name);
    const cJSON *const shape = cJSON_GetObjectItemCaseSensitive(entry, "shape");
    const char *const word = cJSON_GetStringValue(cJSON_GetObjectItemCaseSensitive(entry, "dtype"));
    bool equal = cJSON_IsArray(shape) && cJSON_GetArraySize(shape) == array->values.ndim;
    for (int i = 0; equal && i < array->values.ndim; i++) {
        int64_t extent;
        equal = whole(cJSON_GetArrayItem(shape, i), &extent) && extent == array->values.shape[i];
    }
    if (!equal)
        MALFORMED(c, "%s.npy has another shape than case.json says", array->name);
    for (size_t i = 0; word && i < sizeof words / sizeof *words; i++)
        if (strcmp(word, words[i].word) == 0 && array->values.dtype != words[i].dtype)
            MALFORMED(c, "%s.npy has element type %s, but case.json says %s", array->name,
                      equinv_dtype_name(array->values.dtype), word);
}

equinv_tensor want_array(golden_case *c, const char *name)
{
    golden_array *const array = find_array(c, name);
    if (!array)
        MALFORMED(c, "array \"%s\" is not listed", name);
    array->used = true;
    if (array->read)
        return array->values;
    if (strchr(name, '/') || strlen(name) > 200)
        MALFORMED(c, "array \"%.40s\" has no usable file name", name);
    char path[4096];
    snprintf(path, sizeof path, "%s/%s.npy", c->folder, name);
    if (equinv_tensor_load(c->ctx, path, &array->values) != EQUINV_OK)
        MALFORMED(c, "array \"%s\": %s", name, equinv_last_error());
    array->read = true;
    check_listed(c, array);
    return array->values;
}

equinv_tensor want_axes(golden_case *c, const char *name, int32_t ndim)
{
    const equinv_tensor t = want_array(c, name);
    if (t.ndim != ndim)
        MALFORMED(c, "array \"%s\" has %d axes, expected %d", name, (int)t.ndim, (int)ndim);
    return t;
}

typedef struct owned_tensor {
    equinv_context *ctx;
    equinv_tensor tensor;
} owned_tensor;

static void destroy_tensor(void *object)
{
    owned_tensor *const owned = object;
    equinv_tensor_destroy(owned->ctx, &owned->tensor);
    free(owned);
}

static equinv_tensor create(golden_case *c, equinv_dtype dtype, int32_t ndim, const int64_t *shape)
{
    owned_tensor *const owned = calloc(1, sizeof *owned);
    if (!owned)
        stop_case(c, FAILED, "out of memory");
    owned->ctx = c->ctx;
    own_object(c, owned, destroy_tensor);
    TRY(c, equinv_tensor_create(c->ctx, dtype, ndim, shape, &owned->tensor));
    return owned->tensor;
}

equinv_tensor want_as(golden_case *c, const char *name, equinv_dtype dtype)
{
    const equinv_tensor array = want_array(c, name);
    const equinv_tensor copy = create(c, dtype, array.ndim, array.shape);
    TRY(c, equinv_tensor_convert(c->ctx, &array, 1.0, 0.0, &copy));
    return copy;
}

equinv_tensor new_output(golden_case *c, equinv_dtype dtype, int32_t ndim, const int64_t *shape)
{
    const equinv_tensor t = create(c, dtype, ndim, shape);
    const int64_t count = equinv_tensor_count(&t);
    const bool real = dtype == EQUINV_F32 || dtype == EQUINV_F64;
    for (int64_t i = 0; i < count; i++)
        tensor_set(&t, i, real ? (double)NAN : -77);
    return t;
}

equinv_tensor new_output_like(golden_case *c, const char *name, equinv_dtype dtype)
{
    const equinv_tensor array = want_array(c, name);
    return new_output(c, dtype, array.ndim, array.shape);
}

equinv_tensor new_bytes(golden_case *c, size_t size)
{
    return create(c, EQUINV_U8, 1, (int64_t[]){(int64_t)size});
}

equinv_tensor channels_of(const equinv_tensor *tensor, int64_t first, int64_t count)
{
    equinv_tensor part = *tensor;
    part.data =
        (char *)part.data + first * part.strides[1] * (int64_t)equinv_dtype_size(part.dtype);
    part.shape[1] = count;
    return part;
}

equinv_tensor block_of(golden_case *c, const equinv_tensor *map, const struct field_block *block)
{
    const int64_t channels = block->fields * block->elements;
    const equinv_tensor part = channels_of(map, block->first_channel, channels);
    equinv_tensor fields;
    if (block->first_channel + channels > map->shape[1])
        MALFORMED(c, "a map has %lld channels, fewer than its fields need",
                  (long long)map->shape[1]);
    TRY(c, equinv_tensor_as_fields(&part, block->elements, &fields));
    return fields;
}

/* ---- comparison ------------------------------------------------------------------------------- */

void set_how(golden_case *c, equinv_dtype dtype, const char *impl, const char *more)
{
    c->dtype = dtype;
    snprintf(c->how, sizeof c->how, "%s%s%s%s%s", equinv_dtype_name(dtype), impl ? ", " : "",
             impl ? impl : "", more ? ", " : "", more ? more : "");
}

/* fp64 max(stated, 1e-10); fp32 max(1e-6, 4 x fp32_dense_rel_error) where given, else max(stated, 5e-6). */
static double tolerance_for(golden_case *c, const char *name, equinv_dtype dtype)
{
    if (dtype == EQUINV_F64)
        return fmax(c->stated, 1e-10);
    const cJSON *const dense =
        cJSON_GetObjectItemCaseSensitive(item(c, "fp32_dense_rel_error"), name);
    if (dense && !(cJSON_IsNumber(dense) && dense->valuedouble >= 0))
        MALFORMED(c, "\"fp32_dense_rel_error\" has a \"%s\" that is no number from 0", name);
    return dense ? fmax(1e-6, 4 * dense->valuedouble) : fmax(c->stated, 5e-6);
}

/* Keeps the comparison that is worst in relation to its tolerance; whether this is it and it fails. */
static bool note(golden_case *c, double error, double tolerance)
{
    double ratio = tolerance > 0 && isfinite(error) ? error / tolerance : error > 0 ? DBL_MAX : 0;
    if (isnan(error))
        ratio = (double)INFINITY;
    const bool first = c->compared++ == 0;
    if (!first && (ratio < c->ratio || (ratio == c->ratio && tolerance <= c->tolerance)))
        return false;
    c->error = error;
    c->tolerance = tolerance;
    c->ratio = ratio;
    return ratio > 1;
}

static bool is_integer(equinv_dtype dtype)
{
    return dtype != EQUINV_F32 && dtype != EQUINV_F64;
}

/* "[1, 0, 3]" from a row-major number. */
static const char *place(const equinv_tensor *t, int64_t index, char *text, size_t size)
{
    int64_t at[EQUINV_MAX_DIMS];
    size_t used = 0;
    for (int i = t->ndim - 1; i >= 0; i--) {
        at[i] = index % t->shape[i];
        index /= t->shape[i];
    }
    text[0] = '\0';
    for (int i = 0; i < t->ndim && used < size; i++)
        used += (size_t)snprintf(text + used, size - used, i ? ", %lld" : "%lld", (long long)at[i]);
    return text;
}

void compare_values(golden_case *c, const char *name, const equinv_tensor *expected,
                    const equinv_tensor *got, equinv_dtype dtype)
{
    const int64_t count = equinv_tensor_count(expected);
    if (count != equinv_tensor_count(got))
        stop_case(c, FAILED, "%s (%s): %lld values, expected %lld", name, c->how,
                  (long long)equinv_tensor_count(got), (long long)count);
    const bool exact = is_integer(expected->dtype);
    double largest = 0, error = 0;
    int64_t worst = 0;
    for (int64_t i = 0; i < count; i++) {
        const double y = tensor_get(expected, i);
        if (isfinite(y))
            largest = fmax(largest, fabs(y));
    }
    for (int64_t i = 0; i < count && !isnan(error); i++) {
        const double x = tensor_get(got, i), y = tensor_get(expected, i);
        double difference = fabs(x - y); /* NaN where one is */
        if (isinf(x) || isinf(y))
            difference = x == y ? 0 : isnan(x) || isnan(y) ? (double)NAN : (double)INFINITY;
        if (isnan(difference) || difference > error) {
            error = difference;
            worst = i;
        }
    }
    if (!exact)
        error /= largest > 0 ? largest : 1;
    if (note(c, error, exact ? 0 : tolerance_for(c, name, dtype))) {
        char at[160];
        c->outcome = FAILED;
        snprintf(c->reason, sizeof c->reason, "%s[%s] (%s) is %.9g, expected %.9g", name,
                 place(expected, worst, at, sizeof at), c->how, tensor_get(got, worst),
                 tensor_get(expected, worst));
    }
}

void compare_array(golden_case *c, const char *name, const equinv_tensor *got, equinv_dtype dtype)
{
    const equinv_tensor expected = want_array(c, name);
    compare_values(c, name, &expected, got, dtype);
}

void compare_exactly(golden_case *c, const char *what, int64_t index, double got, double expected)
{
    if (note(c, fabs(got - expected), 0)) {
        c->outcome = FAILED;
        snprintf(c->reason, sizeof c->reason, "%s[%lld] is %g, expected %g", what, (long long)index,
                 got, expected);
    }
}

/* ---- implementations -------------------------------------------------------------------------- */

void want_impls(golden_case *c, equinv_status status, impl_list *list)
{
    static const char before[] = "expected one of ";
    if (status == EQUINV_OK)
        stop_case(c, FAILED, "impl \"" NO_SUCH_IMPL "\" was accepted");
    const char *const names = strstr(equinv_last_error(), before);
    if (status != EQUINV_ERR_ARG || !names)
        stop_case(c, FAILED, "%s: %s", equinv_status_name(status), equinv_last_error());
    snprintf(list->text, sizeof list->text, "%s", names + strlen(before));
    bool has_reference = false;
    char *rest = NULL;
    list->count = 0;
    for (char *name = strtok_r(list->text, ", ", &rest); name && list->count < 16;
         name = strtok_r(NULL, ", ", &rest)) {
        has_reference |= strcmp(name, "ref") == 0;
        list->name[list->count++] = name;
    }
    if (!has_reference)
        stop_case(c, FAILED, "no implementation \"ref\": %s", equinv_last_error());
}

bool accepts(golden_case *c, equinv_status status, const char *call)
{
    if (status == EQUINV_ERR_UNSUPPORTED && !strstr(c->how, ", ref"))
        return false;
    check_call(c, status, call);
    return true;
}
#endif
