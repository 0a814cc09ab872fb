/*
 * What crosses the boundary to the plugin. Structs of most headers in this folder do, so the interface's
 * number, EQI_PLUGIN_ABI, is a checksum of all of them and of the public header, which make writes.
 */
#ifndef EQI_PLUGIN_H
#define EQI_PLUGIN_H

#include "backend.h"
#include "equinv-interface.h"

/* What a plugin may ask of the library that loaded it. */
typedef struct eqi_services {
    equinv_status (*fail)(equinv_status status, const char *format, va_list arguments);
    void (*log)(const equinv_context *ctx, equinv_log_level level, const char *text);
    void *(*alloc)(const equinv_context *ctx, size_t size);
    void (*free)(const equinv_context *ctx, void *ptr, size_t size);
} eqi_services;

#define EQI_PLUGIN_ENTRY "equinv_backend_cuda_1"

/* Of another interface than this library's no other member may be read. */
typedef struct eqi_plugin {
    uint32_t abi; /* EQI_PLUGIN_ABI */
    /* Other options of a compiler may lay out the same structs differently. */
    uint32_t backend_size, context_size;
    const eqi_backend *backend;
} eqi_plugin;

/* The one symbol that a plugin exports. */
typedef const eqi_plugin *eqi_plugin_entry(const eqi_services *services);

/*
 * The CUDA backend; NO_BACKEND says what is missing. Looked for in EQUINV_BACKEND_PATH (a file or a
 * folder), beside the library or program and in its ../lib, and where the loader looks.
 */
equinv_status eqi_plugin_load(const eqi_backend **backend);

#endif
