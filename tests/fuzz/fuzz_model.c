/* Model files: what is read can be run, and saved and read again without a change. */
#define _GNU_SOURCE
#include "tests/fuzz/fuzz.h"

/* Elements of all layers' outputs for one image; models with more are not run. */
#define FUZZ_ELEMENTS (1 << 16)

static bool is_small(const equinv_model *model)
{
    int64_t layers, total = 0;
    FUZZ_CHECK(equinv_model_layer_count(model, &layers) == EQUINV_OK);
    for (int64_t i = -1; i < layers; i++) {
        equinv_layer_desc layer = {.name = "input"};
        int64_t shape[5];
        FUZZ_CHECK(i < 0 || equinv_model_layer(model, i, &layer) == EQUINV_OK);
        FUZZ_CHECK(equinv_model_layer_shape(model, layer.name, shape) == EQUINV_OK);
        for (int axis = 0; axis < 4; axis++)
            if (__builtin_mul_overflow(shape[axis + 1], shape[axis], &shape[axis + 1]))
                return false;
        total += shape[4] < FUZZ_ELEMENTS ? shape[4] : FUZZ_ELEMENTS;
        if (total >= FUZZ_ELEMENTS)
            return false;
    }
    return true;
}

static void run_it(equinv_context *ctx, equinv_model *model)
{
    equinv_model_desc d;
    equinv_tensor images, dst;
    FUZZ_CHECK(equinv_model_describe(model, &d) == EQUINV_OK);
    const int64_t shape[] = {2, d.channels, d.height, d.width};
    FUZZ_CHECK(equinv_tensor_create(ctx, EQUINV_U8, 4, shape, &images) == EQUINV_OK);
    const equinv_status status = equinv_model_forward(model, false, &images, &dst);
    FUZZ_CHECK(status == EQUINV_OK || status == EQUINV_ERR_NOMEM);
    if (status == EQUINV_OK && equinv_model_forward(model, true, &images, &dst) == EQUINV_OK) {
        const equinv_status back = equinv_model_backward(model, &dst);
        FUZZ_CHECK(back == EQUINV_OK || back == EQUINV_ERR_NOMEM);
    }
    equinv_tensor_destroy(ctx, &images);
}

static void save_and_load(equinv_context *ctx, equinv_model *model)
{
    const fuzz_file copy = fuzz_file_of(NULL, 0);
    equinv_model *again = NULL;
    const equinv_parameter *a, *b;
    size_t count, other;
    FUZZ_CHECK(equinv_model_save(model, copy.path) == EQUINV_OK);
    FUZZ_CHECK(equinv_model_load(ctx, copy.path, &again) == EQUINV_OK);
    FUZZ_CHECK(equinv_model_parameters(model, &a, &count) == EQUINV_OK);
    FUZZ_CHECK(equinv_model_parameters(again, &b, &other) == EQUINV_OK);
    FUZZ_CHECK(count == other);
    for (size_t i = 0; i < count; i++) {
        FUZZ_CHECK(strcmp(a[i].name, b[i].name) == 0);
        fuzz_same(&a[i].value, &b[i].value);
    }
    equinv_model_destroy(again);
    close(copy.fd);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    equinv_context *const ctx = fuzz_context();
    const fuzz_file file = fuzz_file_of(data, size);
    equinv_model *model = NULL;
    if (equinv_model_load(ctx, file.path, &model) == EQUINV_OK) {
        save_and_load(ctx, model);
        if (is_small(model))
            run_it(ctx, model);
        equinv_model_load_escnn(model, file.path);
    }
    equinv_model_destroy(model);
    close(file.fd);
    return 0;
}
