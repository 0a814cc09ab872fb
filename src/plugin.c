#define _GNU_SOURCE /* dladdr */
#include <dlfcn.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>

#include "internal/plugin.h"

#define PLUGIN_FILE "libequinv-cuda.so"

static equinv_status fail(equinv_status status, const char *format, va_list arguments)
{
    char text[512];
    eqi_format_list(text, sizeof text, format, arguments);
    return eqi_fail(status, "%s", text);
}

static void log_line(const equinv_context *ctx, equinv_log_level level, const char *text)
{
    eqi_log(ctx, level, "%s", text);
}

static const eqi_services services = {fail, log_line, eqi_alloc, eqi_free};

/* The file is a plugin of this very library: structs cross the boundary. */
static equinv_status check_plugin(const eqi_plugin *plugin, const char *path)
{
    EQI_CHECK(plugin, NO_BACKEND, "%s has the symbol %s, but gives no backend", path,
              EQI_PLUGIN_ENTRY);
    EQI_CHECK(plugin->abi == EQI_PLUGIN_ABI, NO_BACKEND,
              "%s has plugin interface %08" PRIx32 ", expected %08" PRIx32
              ": it was built from other sources than this library (%s)",
              path, plugin->abi, EQI_PLUGIN_ABI, equinv_version());
    EQI_CHECK(plugin->backend_size == sizeof(eqi_backend) &&
                  plugin->context_size == sizeof(equinv_context),
              NO_BACKEND,
              "%s has structs of %" PRIu32 " and %" PRIu32
              " bytes, expected %zu and %zu: it was built with other options than this library",
              path, plugin->backend_size, plugin->context_size, sizeof(eqi_backend),
              sizeof(equinv_context));
    return EQUINV_OK;
}

static equinv_status open_plugin(const char *path, const eqi_backend **backend)
{
    /* Never closed: CUDA does not survive being unloaded. */
    void *const library = dlopen(path, RTLD_NOW | RTLD_LOCAL);
    if (!library) {
        const char *const why = dlerror();
        return eqi_fail(EQUINV_ERR_NO_BACKEND, "the plugin cannot be loaded: %s",
                        why ? why : "no reason given");
    }
    void *const symbol = dlsym(library, EQI_PLUGIN_ENTRY);
    EQI_CHECK(symbol, NO_BACKEND, "%s is no plugin of this version: it has no symbol %s", path,
              EQI_PLUGIN_ENTRY);
    eqi_plugin_entry *entry;
    memcpy(&entry, &symbol, sizeof entry); /* ISO C has no cast from void * to a function */
    const eqi_plugin *const plugin = entry(&services);
    EQI_TRY(check_plugin(plugin, path));
    *backend = plugin->backend;
    return EQUINV_OK;
}

static bool is_file(const char *path)
{
    struct stat s;
    return stat(path, &s) == 0 && S_ISREG(s.st_mode);
}

/* folder/middle/file if that is a file. */
static bool find_in(const char *folder, const char *middle, char *path, size_t size)
{
    const int length = snprintf(path, size, "%s%s/%s", folder, middle, PLUGIN_FILE);
    return length > 0 && (size_t)length < size && is_file(path);
}

/* Beside the file that this code is in (the shared library, or the program), or in its ../lib. */
static bool find_beside(char *path, size_t size)
{
    Dl_info self;
    static const char here = 0;
    char folder[4096];
    if (!dladdr(&here, &self) || !self.dli_fname)
        return false;
    /* The main program may be known only by the name that it was called with. */
    char *const real =
        realpath(strchr(self.dli_fname, '/') ? self.dli_fname : "/proc/self/exe", NULL);
    if (!real || strlen(real) >= sizeof folder) {
        free(real);
        return false;
    }
    memcpy(folder, real, strlen(real) + 1);
    free(real);
    *strrchr(folder, '/') = '\0';
    return find_in(folder, "", path, size) || find_in(folder, "/../lib", path, size);
}

equinv_status eqi_plugin_load(const eqi_backend **backend)
{
    char path[4200];
    const char *const asked = getenv("EQUINV_BACKEND_PATH");
    if (asked && *asked) {
        EQI_CHECK(strchr(asked, '/'), NO_BACKEND,
                  "EQUINV_BACKEND_PATH is \"%s\", expected a path with a slash (the current folder "
                  "is never searched)",
                  asked);
        if (is_file(asked))
            return open_plugin(asked, backend);
        EQI_CHECK(find_in(asked, "", path, sizeof path), NO_BACKEND,
                  "EQUINV_BACKEND_PATH is \"%s\", expected a plugin file or a folder with %s",
                  asked, PLUGIN_FILE);
        return open_plugin(path, backend);
    }
    if (find_beside(path, sizeof path))
        return open_plugin(path, backend);
    return open_plugin(PLUGIN_FILE, backend); /* where the loader looks */
}
