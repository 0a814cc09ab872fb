/* safetensors: the file as it is, and the input as the header of one with a few bytes of data. */
#define _GNU_SOURCE
#include "tests/fuzz/fuzz.h"

#include "internal/safetensors.h"

/* Reads all that is small and can be read, writes it again under the same names, and reads that. */
static void fuzz_model(const void *data, size_t size)
{
    enum { MOST = 32 };
    equinv_context *const ctx = fuzz_context();
    const fuzz_file file = fuzz_file_of(data, size), copy = fuzz_file_of(NULL, 0);
    eqi_safetensors *model = NULL;
    int64_t count = 0, kept = 0;
    equinv_tensor tensors[MOST];
    eqi_safetensors_item items[MOST];
    if (eqi_safetensors_open(ctx, file.path, &model) == EQUINV_OK) {
        const eqi_safetensors_entry *const entries = eqi_safetensors_entries(model, &count);
        for (int64_t i = 0; i < count && kept < MOST; i++) {
            const eqi_array *const a = &entries[i].array;
            const equinv_dtype dtype = entries[i].dtype ? entries[i].dtype : EQUINV_F64;
            equinv_tensor *const t = &tensors[kept];
            if (equinv_tensor_create(ctx, dtype, a->ndim, a->shape, t))
                continue;
            const equinv_status status = eqi_safetensors_read(model, &entries[i], t);
            FUZZ_CHECK(status == EQUINV_OK || !entries[i].dtype);
            items[kept++] = (eqi_safetensors_item){entries[i].name, t};
        }
        const char *const value = eqi_safetensors_metadata(model, "equinv");
        const eqi_safetensors_pair pair = {"equinv", value};
        FUZZ_CHECK(eqi_safetensors_save(ctx, copy.path, &pair, value != NULL, items, kept) ==
                   EQUINV_OK);
        eqi_safetensors *again = NULL;
        FUZZ_CHECK(eqi_safetensors_open(ctx, copy.path, &again) == EQUINV_OK);
        for (int64_t i = 0; i < kept; i++) {
            equinv_tensor back;
            FUZZ_CHECK(!equinv_tensor_create(ctx, tensors[i].dtype, tensors[i].ndim,
                                             tensors[i].shape, &back));
            const eqi_safetensors_entry *const e = eqi_safetensors_find(again, items[i].name);
            FUZZ_CHECK(e && eqi_safetensors_read(again, e, &back) == EQUINV_OK);
            fuzz_same(&tensors[i], &back);
            equinv_tensor_destroy(ctx, &back);
            equinv_tensor_destroy(ctx, &tensors[i]);
        }
        eqi_safetensors_close(again);
    }
    eqi_safetensors_close(model);
    close(file.fd);
    close(copy.fd);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    unsigned char file[8 + 1024 + 24] = {0};
    fuzz_model(data, size);
    if (size <= 1024) {
        file[0] = (unsigned char)(size & 255);
        file[1] = (unsigned char)(size >> 8);
        memcpy(file + 8, data, size);
        fuzz_model(file, 8 + size);
        fuzz_model(file, 8 + size + 24);
    }
    return 0;
}
