/* Checkpoints: parameters, moments and the number of steps as safetensors. */
#include <stdlib.h>
#include <string.h>

#include "internal/optimizer.h"
#include "internal/safetensors.h"

#define KIND_KEY "equinv.optimizer"
#define STEPS_KEY "equinv.steps"

enum { PARTS = 3, NAME_ROOM = 256 };

static const char *const suffixes[PARTS] = {"", ".first", ".second"};

static const char *kind_of(const equinv_optimizer *o)
{
    return o->update.desc.kind == EQUINV_OPTIMIZER_ADAM ? "adam" : "sgd";
}

typedef struct item {
    char name[NAME_ROOM];
    const equinv_tensor *tensor;
} item;

/* What the file holds: a list of items, in the order of the parameters. */
static equinv_status list_items(const equinv_optimizer *o, item **list, int64_t *count)
{
    void *memory;
    int64_t n = 0;
    for (int64_t i = 0; i < o->count; i++)
        EQI_CHECK(o->states[i].name && strlen(o->states[i].name) < NAME_ROOM - 8, ARG,
                  "parameters[%" PRId64 "] has %s, expected a name of less than %d bytes", i,
                  o->states[i].name ? "a longer name" : "no name", NAME_ROOM - 8);
    EQI_TRY(
        eqi_alloc_zeroed(o->ctx, PARTS * o->count, sizeof **list, "a list of parameters", &memory));
    *list = memory;
    for (int64_t i = 0; i < o->count; i++) {
        const eqi_parameter_state *const s = &o->states[i];
        const equinv_tensor *const parts[PARTS] = {&s->value, &s->first, &s->second};
        for (int p = 0; p < PARTS; p++)
            if (p == 0 || parts[p]->ndim || parts[p]->data) {
                eqi_format((*list)[n].name, NAME_ROOM, "%s%s", s->name, suffixes[p]);
                (*list)[n++].tensor = parts[p];
            }
    }
    *count = n;
    return EQUINV_OK;
}

static void free_items(const equinv_optimizer *o, item *list)
{
    eqi_free(o->ctx, list, (size_t)(PARTS * o->count) * sizeof *list);
}

int64_t equinv_optimizer_steps(const equinv_optimizer *optimizer)
{
    return optimizer ? optimizer->steps : 0;
}

equinv_status equinv_optimizer_save(const equinv_optimizer *optimizer, const char *path)
{
    EQI_CHECK(optimizer, ARG, "optimizer is NULL, expected an optimizer");
    EQI_CHECK(path && *path, ARG, "path is %s, expected a file name", path ? "empty" : "NULL");
    item *list;
    int64_t count;
    void *memory;
    char steps[24];
    EQI_TRY(list_items(optimizer, &list, &count));
    equinv_status status =
        eqi_alloc_zeroed(optimizer->ctx, count, sizeof(eqi_safetensors_item), "a list", &memory);
    if (status == EQUINV_OK) {
        eqi_safetensors_item *const items = memory;
        for (int64_t i = 0; i < count; i++)
            items[i] = (eqi_safetensors_item){list[i].name, list[i].tensor};
        eqi_format(steps, sizeof steps, "%" PRId64, optimizer->steps);
        const eqi_safetensors_pair metadata[] = {{KIND_KEY, kind_of(optimizer)},
                                                 {STEPS_KEY, steps}};
        status = eqi_safetensors_save(optimizer->ctx, path, metadata, 2, items, count);
        eqi_free(optimizer->ctx, memory, (size_t)count * sizeof *items);
    }
    free_items(optimizer, list);
    return status;
}

/* A whole number of at most 18 digits. */
static bool read_steps(const char *text, int64_t *steps)
{
    const size_t length = text ? strlen(text) : 0;
    if (length < 1 || length > 18 || strspn(text, "0123456789") != length)
        return false;
    *steps = strtoll(text, NULL, 10);
    return true;
}

static equinv_status check_file(const equinv_optimizer *o, eqi_safetensors *file, const item *list,
                                int64_t count, int64_t *steps)
{
    const char *const path = eqi_safetensors_path(file);
    const char *const kind = eqi_safetensors_metadata(file, KIND_KEY);
    int64_t there;
    EQI_CHECK(kind && strcmp(kind, kind_of(o)) == 0, FORMAT,
              "%s: __metadata__." KIND_KEY " is %.32s, expected %s", path,
              kind ? kind : "not there", kind_of(o));
    EQI_CHECK(read_steps(eqi_safetensors_metadata(file, STEPS_KEY), steps), FORMAT,
              "%s: __metadata__." STEPS_KEY " is not a number of steps", path);
    for (int64_t i = 0; i < count; i++) {
        const eqi_safetensors_entry *const entry = eqi_safetensors_find(file, list[i].name);
        const equinv_tensor *const t = list[i].tensor;
        char has[128], wants[128];
        EQI_CHECK(entry, FORMAT, "%s: tensor \"%.128s\" is not there", path, list[i].name);
        EQI_CHECK(entry->dtype == t->dtype, FORMAT, "%s: tensor \"%.128s\" is %s, expected %s",
                  path, list[i].name, entry->word, equinv_dtype_name(t->dtype));
        EQI_CHECK(entry->array.ndim == t->ndim &&
                      memcmp(entry->array.shape, t->shape, (size_t)t->ndim * sizeof *t->shape) == 0,
                  FORMAT, "%s: tensor \"%.128s\" has shape %s, expected %s", path, list[i].name,
                  eqi_shape_text(entry->array.ndim, entry->array.shape, has, sizeof has),
                  eqi_shape_text(t->ndim, t->shape, wants, sizeof wants));
    }
    eqi_safetensors_entries(file, &there);
    EQI_CHECK(there == count, FORMAT, "%s: holds %" PRId64 " tensors, expected %" PRId64, path,
              there, count);
    return EQUINV_OK;
}

equinv_status equinv_optimizer_load(equinv_optimizer *optimizer, const char *path)
{
    EQI_CHECK(optimizer, ARG, "optimizer is NULL, expected an optimizer");
    EQI_CHECK(path && *path, ARG, "path is %s, expected a file name", path ? "empty" : "NULL");
    eqi_safetensors *file = NULL;
    item *list;
    int64_t count, steps = 0;
    EQI_TRY(list_items(optimizer, &list, &count));
    equinv_status status;
    EQI_TRY_GOTO(status, done, eqi_safetensors_open(optimizer->ctx, path, &file));
    EQI_TRY_GOTO(status, done, check_file(optimizer, file, list, count, &steps));
    for (int64_t i = 0; i < count; i++)
        EQI_TRY_GOTO(
            status, done,
            eqi_safetensors_read(file, eqi_safetensors_find(file, list[i].name), list[i].tensor));
    optimizer->steps = steps;
done:
    eqi_safetensors_close(file);
    free_items(optimizer, list);
    return status;
}
