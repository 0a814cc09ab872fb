/* Extraction for the tests: descriptions, tensors and files for codes, a progress callback. */
#ifndef TESTS_UTIL_EXTRACT_H
#define TESTS_UTIL_EXTRACT_H

#include "tests/util/files.h"
#include "tests/util/network.h"

equinv_extract_desc extract_of(const char *layer, int64_t batch);
equinv_projection *projection_for(const equinv_model *m, const char *layer,
                                  equinv_projection_kind kind, int64_t k);

/* A tensor on ctx's device for what comes out of a layer (NULL: the default), or of p behind it. */
equinv_tensor codes_for(equinv_context *ctx, const equinv_model *m, const char *layer,
                        const equinv_projection *p, int64_t batch);

/* Progress that tells more each time; `watch` cancels at the call that stop_at counts to, 0: never. */
typedef struct watcher {
    int calls, stop_at;
    int64_t done, total;
} watcher;
equinv_extract_desc extract_watched(const char *layer, int64_t batch, watcher *w);

/* A folder with the paths of images.npy and latents.npy; at its end `count` files must be there. */
typedef struct extract_files {
    temp_folder folder;
    char in[160], out[160];
} extract_files;
extract_files extract_files_new(void);
void extract_files_free(extract_files *f, int count);

#endif
