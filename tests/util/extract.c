#include "tests/util/extract.h"

#include "internal/model.h"

equinv_extract_desc extract_of(const char *layer, int64_t batch)
{
    equinv_extract_desc d = EQUINV_EXTRACT_DESC_INIT;
    d.layer = layer;
    d.batch = batch;
    return d;
}

equinv_projection *projection_for(const equinv_model *m, const char *layer,
                                  equinv_projection_kind kind, int64_t k)
{
    equinv_projection_desc d = EQUINV_PROJECTION_DESC_INIT;
    equinv_projection *p = NULL;
    d.kind = kind;
    d.k = k;
    OK(equinv_projection_create_for_layer(m, layer, &d, &p));
    return p;
}

equinv_tensor codes_for(equinv_context *ctx, const equinv_model *m, const char *layer,
                        const equinv_projection *p, int64_t batch)
{
    int64_t shape[5];
    int32_t ndim, node;
    if (p) {
        OK(equinv_projection_output_shape(p, batch, &ndim, shape));
    } else {
        OK(eqi_model_find_latents(m, layer, &node));
        OK(equinv_model_layer_shape(m, m->nodes[node]->name, shape));
        shape[0] = batch;
        ndim = m->nodes[node]->flat ? 2 : 5;
    }
    equinv_tensor codes;
    OK(equinv_tensor_create(ctx, m->desc.dtype, ndim, shape, &codes));
    return codes;
}

static int watch(void *user, int64_t done, int64_t total)
{
    watcher *const w = user;
    ck_assert(done > w->done && done <= total);
    w->done = done;
    w->total = total;
    return ++w->calls == w->stop_at;
}

equinv_extract_desc extract_watched(const char *layer, int64_t batch, watcher *w)
{
    equinv_extract_desc d = extract_of(layer, batch);
    d.progress = watch;
    d.progress_user = w;
    return d;
}

extract_files extract_files_new(void)
{
    extract_files f = {.folder = temp_folder_new()};
    snprintf(f.in, sizeof f.in, "%s", temp_path(&f.folder, "images.npy"));
    snprintf(f.out, sizeof f.out, "%s", temp_path(&f.folder, "latents.npy"));
    return f;
}

void extract_files_free(extract_files *f, int count)
{
    ck_assert_int_eq(temp_count(&f->folder), count);
    temp_folder_free(&f->folder);
}
