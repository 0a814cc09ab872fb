/*
 * safetensors: eight bytes with the length of a JSON header, the header, the tensors' bytes without
 * gaps. Files are hostile: whatever does not fit is FORMAT and names the tensor.
 */
#ifndef EQI_SAFETENSORS_H
#define EQI_SAFETENSORS_H

#include "file.h"

typedef struct eqi_safetensors eqi_safetensors;

typedef struct eqi_safetensors_entry {
    const char *name;
    const char *word;   /* element type as the file says it, "F32" */
    equinv_dtype dtype; /* the same if the library has it; 0: it is converted, or cannot be read */
    eqi_array array;    /* shape, count, bytes */
    int64_t begin, end; /* bytes after the header */
} eqi_safetensors_entry;

/*
 * Opens a plain regular file and checks it whole, but for the values of the tensors. IO, FORMAT;
 * UNSUPPORTED without cJSON, for unknown element types and more than EQUINV_MAX_DIMS axes.
 */
equinv_status eqi_safetensors_open(equinv_context *ctx, const char *path, eqi_safetensors **opened);

/* Releases the file, its names and its metadata; NULL is fine. */
void eqi_safetensors_close(eqi_safetensors *file);

/* The path as sentences show it. */
const char *eqi_safetensors_path(const eqi_safetensors *file);

/* Value of a key of __metadata__; NULL if it is not there. */
const char *eqi_safetensors_metadata(const eqi_safetensors *file, const char *key);

/* All tensors, in the order of the header. */
const eqi_safetensors_entry *eqi_safetensors_entries(const eqi_safetensors *file, int64_t *count);

/* The tensor of that name; NULL if it is not there. */
const eqi_safetensors_entry *eqi_safetensors_find(const eqi_safetensors *file, const char *name);

/*
 * Reads a tensor into one of the same shape and any strides and dtype, converted as
 * equinv_reader_read does; or into a row-major one on the context's device, complete when this
 * returns. UNSUPPORTED: half precision. ARG: a value does not fit.
 */
equinv_status eqi_safetensors_read(eqi_safetensors *file, const eqi_safetensors_entry *entry,
                                   const equinv_tensor *tensor);

typedef struct eqi_safetensors_pair {
    const char *key, *value;
} eqi_safetensors_pair;

typedef struct eqi_safetensors_item {
    const char *name;
    const equinv_tensor *tensor;
} eqi_safetensors_item;

/*
 * Writes metadata and tensors (any strides; on the context's device, too) in the order given, all or
 * nothing as eqi_output_commit does; needs no cJSON. ARG: names or keys that are not UTF-8, occur
 * twice, or are __metadata__.
 */
equinv_status eqi_safetensors_save(equinv_context *ctx, const char *path,
                                   const eqi_safetensors_pair *metadata, int64_t pairs,
                                   const eqi_safetensors_item *items, int64_t count);

#endif
