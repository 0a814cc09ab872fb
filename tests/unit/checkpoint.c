/* Checkpoints of optimisers: training goes on with the same bits; every file that does not fit is refused. */
#include <math.h>

#include "tests/util/files.h"
#include "tests/util/layout.h"

enum { COUNT = 3 };

typedef struct training {
    equinv_context *ctx;
    equinv_parameter p[COUNT];
    equinv_optimizer *o;
} training;

/* kind 0: SGD, 1: with momentum, 2: Adam */
static training training_new(equinv_context *ctx, int kind, equinv_dtype dtype)
{
    static const char *const names[COUNT] = {"in.weights", "in.bias", "scale"};
    training t = {.ctx = ctx};
    equinv_optimizer_desc d = EQUINV_OPTIMIZER_DESC_INIT;
    rng r = {5};
    d.kind = kind < 2 ? EQUINV_OPTIMIZER_SGD : EQUINV_OPTIMIZER_ADAM;
    d.momentum = kind == 1 ? 0.9 : 0;
    for (int i = 0; i < COUNT; i++) {
        const int64_t shape[2] = {3, 4};
        t.p[i].name = names[i];
        OK(equinv_tensor_create(ctx, dtype, 2 - i, shape, &t.p[i].value));
        OK(equinv_tensor_create(ctx, dtype, 2 - i, shape, &t.p[i].gradient));
        tensor_fill_random(&r, &t.p[i].value);
    }
    OK(equinv_optimizer_create(ctx, &d, t.p, COUNT, &t.o));
    return t;
}

static void training_steps(training *t, int first, int end)
{
    for (int step = first; step < end; step++) {
        rng r = {(uint64_t)step};
        for (int i = 0; i < COUNT; i++)
            tensor_fill_random(&r, &t->p[i].gradient);
        OK(equinv_optimizer_step(t->o));
    }
}

static void training_free(training *t)
{
    equinv_optimizer_destroy(t->o);
    for (int i = 0; i < COUNT; i++) {
        equinv_tensor_destroy(t->ctx, &t->p[i].value);
        equinv_tensor_destroy(t->ctx, &t->p[i].gradient);
    }
}

/* Whether this build reads what it wrote. */
static bool reads(training *t, const char *path)
{
    const equinv_status status = equinv_optimizer_load(t->o, path);
    if (status == EQUINV_ERR_UNSUPPORTED) {
        SKIP("%s", equinv_last_error());
        return false;
    }
    ck_assert_msg(status == EQUINV_OK, "%s", equinv_last_error());
    return true;
}

START_TEST(training_goes_on)
{
    equinv_context *const ctx = context_new();
    temp_folder folder = temp_folder_new();
    const char *const path = temp_path(&folder, "training.safetensors");
    const equinv_dtype dtype = _i % 2 ? EQUINV_F64 : EQUINV_F32;
    training whole = training_new(ctx, _i / 2, dtype), first = training_new(ctx, _i / 2, dtype);
    training second = training_new(ctx, _i / 2, dtype);
    training_steps(&whole, 0, 7);
    training_steps(&first, 0, 3);
    ck_assert_int_eq(equinv_optimizer_steps(first.o), 3);
    OK(equinv_optimizer_save(first.o, path));
    for (int i = 0; i < COUNT; i++)
        OK(equinv_tensor_convert(ctx, &second.p[i].value, 0, 0, &second.p[i].value));
    if (reads(&second, path)) {
        ck_assert_int_eq(equinv_optimizer_steps(second.o), 3);
        training_steps(&second, 3, 7);
        ck_assert_int_eq(equinv_optimizer_steps(second.o), 7);
        for (int i = 0; i < COUNT; i++)
            ASSERT_SAME(&second.p[i].value, &whole.p[i].value);
    }
    training_free(&whole), training_free(&first), training_free(&second);
    temp_folder_free(&folder);
    equinv_context_destroy(ctx);
}
END_TEST

/* A file of another training leaves everything as it was. */
START_TEST(files_of_others)
{
    static const struct {
        const char *why;
        int kind;
        equinv_dtype dtype;
        int shorter, fewer, renamed;
    } cases[] = {
        {"__metadata__.equinv.optimizer is sgd, expected adam", 0, EQUINV_F32, 0, 0, 0},
        {"tensor \"in.weights\" is F64, expected f32", 2, EQUINV_F64, 0, 0, 0},
        {"tensor \"in.weights\" has shape [3, 3], expected [3, 4]", 2, EQUINV_F32, 1, 0, 0},
        {"tensor \"scale\" is not there", 2, EQUINV_F32, 0, 1, 0},
        {"tensor \"in.bias\" is not there", 2, EQUINV_F32, 0, 0, 1},
    };
    equinv_context *const ctx = context_new();
    temp_folder folder = temp_folder_new();
    const char *const path = temp_path(&folder, "other.safetensors");
    training mine = training_new(ctx, 2, EQUINV_F32);
    training_steps(&mine, 0, 2);
    OK(equinv_optimizer_save(mine.o, path));
    if (reads(&mine, path)) {
        equinv_tensor before = tensor_copy(ctx, &mine.p[0].value);
        for (size_t k = 0; k < sizeof cases / sizeof *cases; k++) {
            training other = training_new(ctx, cases[k].kind, cases[k].dtype);
            equinv_optimizer_desc d = EQUINV_OPTIMIZER_DESC_INIT;
            d.kind = cases[k].kind < 2 ? EQUINV_OPTIMIZER_SGD : EQUINV_OPTIMIZER_ADAM;
            equinv_optimizer_destroy(other.o);
            equinv_parameter p[COUNT];
            memcpy(p, other.p, sizeof p);
            if (cases[k].shorter)
                p[0].value.shape[1] = p[0].gradient.shape[1] = 3;
            if (cases[k].renamed)
                p[1].name = "bias";
            OK(equinv_optimizer_create(ctx, &d, p, (size_t)(COUNT - cases[k].fewer), &other.o));
            OK(equinv_optimizer_save(other.o, path));
            FAILS(EQUINV_ERR_FORMAT, cases[k].why, equinv_optimizer_load(mine.o, path));
            training_free(&other);
        }
        /* one tensor too many */
        training more = training_new(ctx, 2, EQUINV_F32);
        equinv_optimizer *few = NULL;
        equinv_optimizer_desc d = EQUINV_OPTIMIZER_DESC_INIT;
        OK(equinv_optimizer_save(more.o, path));
        OK(equinv_optimizer_create(ctx, &d, more.p, 2, &few));
        FAILS(EQUINV_ERR_FORMAT, "holds 9 tensors, expected 6", equinv_optimizer_load(few, path));
        equinv_optimizer_destroy(few);
        training_free(&more);
        /* cut short, and steps that are no number */
        size_t size;
        char *const file = file_read(path, &size);
        file_write(path, file, size - 1);
        FAILS(EQUINV_ERR_FORMAT, "other.safetensors", equinv_optimizer_load(mine.o, path));
        char *const steps = strstr(file + 8, "equinv.steps\":\"0");
        ck_assert_ptr_nonnull(steps);
        steps[strlen("equinv.steps\":\"")] = 'x';
        file_write(path, file, size);
        FAILS(EQUINV_ERR_FORMAT, "is not a number of steps", equinv_optimizer_load(mine.o, path));
        free(file);
        FAILS(EQUINV_ERR_IO, "missing",
              equinv_optimizer_load(mine.o, temp_path(&folder, "missing")));
        ASSERT_SAME(&mine.p[0].value, &before);
        ck_assert_int_eq(equinv_optimizer_steps(mine.o), 2);
        equinv_tensor_destroy(ctx, &before);
    }
    training_free(&mine);
    temp_folder_free(&folder);
    equinv_context_destroy(ctx);
}
END_TEST

START_TEST(wrong_arguments)
{
    equinv_context *const ctx = context_new();
    temp_folder folder = temp_folder_new();
    const char *const path = temp_path(&folder, "none.safetensors");
    training t = training_new(ctx, 2, EQUINV_F32);
    ck_assert_int_eq(equinv_optimizer_steps(NULL), 0);
    FAILS(EQUINV_ERR_ARG, "optimizer is NULL", equinv_optimizer_save(NULL, path));
    FAILS(EQUINV_ERR_ARG, "optimizer is NULL", equinv_optimizer_load(NULL, path));
    FAILS(EQUINV_ERR_ARG, "path is NULL", equinv_optimizer_save(t.o, NULL));
    FAILS(EQUINV_ERR_ARG, "path is empty", equinv_optimizer_load(t.o, ""));
    const equinv_optimizer_desc d = EQUINV_OPTIMIZER_DESC_INIT;
    char longer[400];
    memset(longer, 'x', sizeof longer - 1), longer[sizeof longer - 1] = '\0';
    for (int k = 0; k < 3; k++) {
        static const char *const words[3] = {"parameters[1] has no name", "has a longer name",
                                             "in.weights"};
        equinv_parameter p[COUNT];
        memcpy(p, t.p, sizeof p);
        p[1].name = k == 0 ? NULL : k == 1 ? longer : p[0].name;
        equinv_optimizer_destroy(t.o);
        OK(equinv_optimizer_create(ctx, &d, p, COUNT, &t.o));
        FAILS(EQUINV_ERR_ARG, words[k], equinv_optimizer_save(t.o, path));
    }
    ck_assert_int_eq(temp_count(&folder), 0);
    training_free(&t);
    temp_folder_free(&folder);
    equinv_context_destroy(ctx);
}
END_TEST

START_TEST(allocation_failures)
{
    fault_allocator f = {.until = -1};
    equinv_context *const ctx = context_of_faults(&f);
    temp_folder folder = temp_folder_new();
    const char *const path = temp_path(&folder, "training.safetensors");
    training t = training_new(ctx, 2, EQUINV_F32);
    OK(equinv_optimizer_save(t.o, path));
    const bool can = reads(&t, path);
    for (int load = 0; load < 1 + can; load++) {
        const int64_t live = f.live;
        int failures = 0;
        for (f.count = 0, f.until = 0;; f.count = 0, f.until++, failures++) {
            const equinv_status status =
                load ? equinv_optimizer_load(t.o, path) : equinv_optimizer_save(t.o, path);
            ck_assert_int_eq(f.live, live);
            if (status == EQUINV_OK)
                break;
            ck_assert_int_eq(status, EQUINV_ERR_NOMEM);
        }
        ck_assert_int_ge(failures, 2);
    }
    f.until = -1;
    training_free(&t);
    temp_folder_free(&folder);
    equinv_context_destroy(ctx);
    ck_assert(f.live == 0 && f.wrong_size == 0);
}
END_TEST

int main(void)
{
    const test_entry tests[] = {
        {training_goes_on, 6},
        {files_of_others, 1},
        {wrong_arguments, 1},
        {allocation_failures, 1},
    };
    return run_tests("checkpoint", tests, sizeof tests / sizeof *tests);
}
