/* Files and a device: arrays, and models' parameters, through CPU memory. */
#include "tests/util/cuda.h"
#include "tests/util/files.h"
#include "tests/util/network.h"

static const equinv_dtype dtypes[] = {EQUINV_F32, EQUINV_F64, EQUINV_I32, EQUINV_U8, EQUINV_U32};
enum { DTYPES = sizeof dtypes / sizeof *dtypes };

/* What the file says, read by a CPU context. */
static equinv_tensor loaded_on_cpu(equinv_context *cpu, const char *path)
{
    equinv_tensor t;
    OK(equinv_tensor_load(cpu, path, &t));
    ck_assert_int_eq(t.device.kind, EQUINV_DEVICE_CPU);
    return t;
}

START_TEST(arrays_come_to_the_device_and_back)
{
    static const int shapes[][3] = {{7, 3, 5}, {1, 1, 1}, {0, 4, 2}, {3, 0, 2}};
    equinv_context *const cpu = context_new(), *const ctx = cuda_context_new();
    temp_folder folder = temp_folder_new();
    rng r = {1};
    for (int i = 0; i < DTYPES; i++)
        for (int s = 0; s < 4; s++) {
            const char *const path = temp_path(&folder, "array.npy");
            const int *const e = shapes[s];
            equinv_tensor t = tensor_random(cpu, &r, dtypes[i], 3, e[0], e[1], e[2]), there;
            OK(equinv_tensor_save(cpu, path, &t));
            OK(equinv_tensor_load(ctx, path, &there));
            ck_assert_int_eq(there.device.kind, EQUINV_DEVICE_CUDA);
            ck_assert_int_eq(there.dtype, dtypes[i]);
            equinv_tensor back = cuda_back(ctx, &there);
            ASSERT_SAME(&back, &t);
            OK(equinv_tensor_save(ctx, path, &there));
            equinv_tensor again = loaded_on_cpu(cpu, path);
            ASSERT_SAME(&again, &t);
            OK(equinv_tensor_save(ctx, path, &t)); /* CPU memory in a CUDA context */
            equinv_tensor_destroy(cpu, &again);
            again = loaded_on_cpu(cpu, path);
            ASSERT_SAME(&again, &t);
            equinv_tensor_destroy(cpu, &again);
            equinv_tensor_destroy(ctx, &back);
            equinv_tensor_destroy(ctx, &there);
            equinv_tensor_destroy(cpu, &t);
        }
    ck_assert_int_eq(temp_count(&folder), 1);
    temp_folder_free(&folder);
    equinv_context_destroy(ctx);
    equinv_context_destroy(cpu);
}
END_TEST

START_TEST(an_array_without_axes)
{
    equinv_context *const cpu = context_new(), *const ctx = cuda_context_new();
    temp_folder folder = temp_folder_new();
    const char *const path = temp_path(&folder, "number.npy");
    float value = 3.5f;
    equinv_tensor t, there;
    OK(equinv_tensor_init(&value, EQUINV_F32, 0, NULL, &t));
    OK(equinv_tensor_save(cpu, path, &t));
    OK(equinv_tensor_load(ctx, path, &there));
    ck_assert_int_eq(there.ndim, 0);
    OK(equinv_tensor_save(ctx, path, &there));
    equinv_tensor back = loaded_on_cpu(cpu, path);
    ck_assert_int_eq(back.ndim, 0);
    ck_assert(tensor_get(&back, 0) == 3.5);
    equinv_tensor_destroy(cpu, &back);
    equinv_tensor_destroy(ctx, &there);
    temp_folder_free(&folder);
    equinv_context_destroy(ctx);
    equinv_context_destroy(cpu);
}
END_TEST

/* More than what is staged at a time (32 MiB), which no row count divides. */
START_TEST(large_arrays_pass_in_pieces)
{
    equinv_context *const cpu = context_new(), *const ctx = cuda_context_new();
    temp_folder folder = temp_folder_new();
    const char *const path = temp_path(&folder, "large.npy");
    const int64_t shape[] = {71, 1000003};
    equinv_tensor t, there, back;
    OK(equinv_tensor_create(cpu, EQUINV_U8, 2, shape, &t));
    for (int64_t i = 0; i < equinv_tensor_count(&t); i++)
        ((uint8_t *)t.data)[i] = (uint8_t)(i * 7 + i / 1000003);
    OK(equinv_tensor_create(ctx, EQUINV_U8, 2, shape, &there));
    OK(equinv_tensor_copy(ctx, &t, &there)); /* enqueued: saving comes after it */
    OK(equinv_tensor_save(ctx, path, &there));
    back = loaded_on_cpu(cpu, path);
    ASSERT_SAME(&back, &t);
    equinv_tensor_destroy(cpu, &back);
    equinv_tensor_destroy(ctx, &there);
    equinv_tensor_destroy(cpu, &t);
    temp_folder_free(&folder);
    equinv_context_destroy(ctx);
    equinv_context_destroy(cpu);
}
END_TEST

START_TEST(strided_arrays_are_written_row_major)
{
    equinv_context *const cpu = context_new(), *const ctx = cuda_context_new();
    temp_folder folder = temp_folder_new();
    rng r = {2};
    for (int i = 0; i < 2 * DTYPES; i++) {
        const char *const path = temp_path(&folder, "strided.npy");
        equinv_tensor t = tensor_random(cpu, &r, dtypes[i % DTYPES], 4, 5, 2, 3, 4), storage;
        const equinv_tensor there = cuda_strided_copy(ctx, &r, &t, &storage);
        OK(equinv_tensor_save(ctx, path, &there));
        equinv_tensor back = loaded_on_cpu(cpu, path);
        ASSERT_SAME(&back, &t);
        equinv_tensor_destroy(cpu, &back);
        equinv_tensor_destroy(ctx, &storage);
        equinv_tensor_destroy(cpu, &t);
    }
    temp_folder_free(&folder);
    equinv_context_destroy(ctx);
    equinv_context_destroy(cpu);
}
END_TEST

START_TEST(readers_and_writers_take_cpu_memory)
{
    equinv_context *const ctx = cuda_context_new();
    temp_folder folder = temp_folder_new();
    const char *const path = temp_path(&folder, "rows.npy");
    const int64_t shape[] = {6, 2};
    equinv_tensor here, there, again;
    equinv_writer *writer;
    equinv_reader *reader;
    int64_t count;
    OK(equinv_tensor_create_pinned(ctx, EQUINV_F32, 2, shape, &here));
    OK(equinv_tensor_create_pinned(ctx, EQUINV_F32, 2, shape, &again));
    OK(equinv_tensor_create(ctx, EQUINV_F32, 2, shape, &there));
    rng r = {3};
    tensor_fill_random(&r, &here);
    OK(equinv_writer_create(ctx, path, EQUINV_F32, 2, shape, &writer));
    FAILS(EQUINV_ERR_DEVICE, "rows is on device cuda:0", equinv_writer_write(writer, &there));
    OK(equinv_writer_write(writer, &here));
    OK(equinv_writer_commit(writer));
    OK(equinv_reader_open(ctx, path, &reader));
    FAILS(EQUINV_ERR_DEVICE, "rows is on device cuda:0",
          equinv_reader_read(reader, &there, &count));
    OK(equinv_reader_read(reader, &again, &count));
    ck_assert_int_eq(count, 6);
    ASSERT_SAME(&again, &here);
    equinv_reader_close(reader);
    equinv_tensor_destroy(ctx, &there);
    equinv_tensor_destroy(ctx, &again);
    equinv_tensor_destroy(ctx, &here);
    temp_folder_free(&folder);
    equinv_context_destroy(ctx);
}
END_TEST

START_TEST(failures_leave_nothing)
{
    equinv_context *const ctx = cuda_context_new();
    temp_folder folder = temp_folder_new();
    const char *const path = temp_path(&folder, "short.npy");
    bytes b = npy_with(1, "{'descr': '<f4', 'fortran_order': False, 'shape': (4, 2), }");
    bytes_add(&b, "12345678", 8);
    file_write(path, b.at, b.size);
    equinv_tensor t = {0}, there;
    FAILS(EQUINV_ERR_FORMAT, "short.npy", equinv_tensor_load(ctx, path, &t));
    ck_assert(t.data == NULL);
    OK(equinv_tensor_create(ctx, EQUINV_F32, 1, (int64_t[]){3}, &there));
    FAILS(EQUINV_ERR_IO, "nowhere",
          equinv_tensor_save(ctx, temp_path(&folder, "nowhere/out.npy"), &there));
    equinv_tensor stray = there;
    stray.device.index = 1;
    FAILS(EQUINV_ERR_DEVICE, "cuda:1", equinv_tensor_save(ctx, temp_path(&folder, "x"), &stray));
    ck_assert_int_eq(temp_count(&folder), 1);
    equinv_tensor_destroy(ctx, &there);
    temp_folder_free(&folder);
    equinv_context_destroy(ctx);
}
END_TEST

/* The program in the header's first comment, of any context. */
static equinv_tensor codes_of(equinv_context *ctx, const temp_folder *folder)
{
    equinv_projection *proj = NULL;
    equinv_tensor z, codes;
    equinv_projection_desc d = EQUINV_PROJECTION_DESC_INIT;
    d.kind = EQUINV_PROJECT_LINEAR;
    d.group = equinv_cyclic(4);
    d.fields = 3, d.height = 5, d.width = 5;
    d.k = 8, d.seed = 7;
    OK(equinv_tensor_load(ctx, temp_path(folder, "latents.npy"), &z));
    OK(equinv_projection_create(ctx, &d, &proj));
    OK(equinv_tensor_create(ctx, EQUINV_F32, 2, (int64_t[]){z.shape[0], 8}, &codes));
    OK(equinv_project_forward(proj, &z, NULL, &codes, NULL, 0, NULL, 0));
    OK(equinv_tensor_save(ctx, temp_path(folder, "codes.npy"), &codes));
    equinv_tensor_destroy(ctx, &codes), equinv_tensor_destroy(ctx, &z);
    equinv_projection_destroy(proj);

    equinv_context *const cpu = context_new();
    OK(equinv_tensor_load(cpu, temp_path(folder, "codes.npy"), &codes));
    equinv_context_destroy(cpu);
    return codes;
}

START_TEST(the_headers_program_needs_no_change)
{
    equinv_context *const cpu = context_new(), *const ctx = cuda_context_new();
    temp_folder folder = temp_folder_new();
    rng r = {5};
    equinv_tensor z = tensor_random(cpu, &r, EQUINV_F32, 5, 6, 3, 4, 5, 5);
    OK(equinv_tensor_save(cpu, temp_path(&folder, "latents.npy"), &z));
    equinv_tensor here = codes_of(cpu, &folder), there = codes_of(ctx, &folder);
    ASSERT_CLOSE(&there, &here, 1e-5);
    equinv_tensor_destroy(cpu, &there);
    equinv_tensor_destroy(cpu, &here);
    equinv_tensor_destroy(cpu, &z);
    temp_folder_free(&folder);
    equinv_context_destroy(ctx);
    equinv_context_destroy(cpu);
}
END_TEST

/* ---- models --------------------------------------------------------------------------------- */

static void assert_same_files(const char *a, const char *b)
{
    size_t size_a, size_b;
    char *const x = file_read(a, &size_a), *const y = file_read(b, &size_b);
    ck_assert_uint_eq(size_a, size_b);
    ck_assert(memcmp(x, y, size_a) == 0);
    free(x);
    free(y);
}

/* From the CPU's file to the device and back: the same bytes. */
START_TEST(models_move_between_devices)
{
    equinv_context *const cpu = context_new(), *const ctx = cuda_context_new();
    temp_folder folder = temp_folder_new();
    char first[160], second[160], third[160];
    snprintf(first, sizeof first, "%s", temp_path(&folder, "cpu.safetensors"));
    snprintf(second, sizeof second, "%s", temp_path(&folder, "cuda.safetensors"));
    snprintf(third, sizeof third, "%s", temp_path(&folder, "again.safetensors"));
    rng r = {4};
    for (int i = 0; i < 6; i++) {
        equinv_model *const m =
            network_random(cpu, &r, (network_options){i % 2 ? EQUINV_F64 : EQUINV_F32, false});
        equinv_model *there, *back;
        network_disturb(&r, m);
        OK(equinv_model_save(m, first));
        const equinv_status status = equinv_model_load(ctx, first, &there);
        if (status == EQUINV_ERR_UNSUPPORTED) {
            SKIP("%s", equinv_last_error());
            equinv_model_destroy(m);
            break;
        }
        OK(status);
        const equinv_parameter *parameters;
        size_t count;
        OK(equinv_model_parameters(there, &parameters, &count));
        for (size_t k = 0; k < count; k++)
            ck_assert_int_eq(parameters[k].value.device.kind, EQUINV_DEVICE_CUDA);
        OK(equinv_model_save(there, second));
        assert_same_files(first, second);
        OK(equinv_model_load(cpu, second, &back));
        OK(equinv_model_save(back, third));
        assert_same_files(first, third);
        equinv_model_destroy(back);
        equinv_model_destroy(there);
        equinv_model_destroy(m);
    }
    temp_folder_free(&folder);
    equinv_context_destroy(ctx);
    equinv_context_destroy(cpu);
}
END_TEST

int main(void)
{
    const test_entry tests[] = {
        {arrays_come_to_the_device_and_back, 1},  {an_array_without_axes, 1},
        {large_arrays_pass_in_pieces, 1},         {strided_arrays_are_written_row_major, 1},
        {readers_and_writers_take_cpu_memory, 1}, {failures_leave_nothing, 1},
        {the_headers_program_needs_no_change, 1}, {models_move_between_devices, 1},
    };
    return run_cuda_tests("cuda files", tests, sizeof tests / sizeof *tests);
}
