/* `equinv --device`: the commands that compute give the CPU's results on a device. */
#include "tests/util/cuda.h"
#include "tests/util/network.h"
#include "tests/util/program.h"

enum { DONE = 0, REFUSED = 1, USAGE = 2 };

static equinv_tensor load(equinv_context *cpu, const temp_folder *folder, const char *name)
{
    equinv_tensor t;
    OK(equinv_tensor_load(cpu, temp_path(folder, name), &t));
    return t;
}

static void save(equinv_context *cpu, const temp_folder *folder, const char *name, equinv_tensor t)
{
    OK(equinv_tensor_save(cpu, temp_path(folder, name), &t));
    equinv_tensor_destroy(cpu, &t);
}

/* The command on both devices, with files that are alike. */
static void same_on_both(equinv_context *cpu, const temp_folder *folder, const char *arguments,
                         double tolerance)
{
    char line[512];
    for (int there = 0; there < 2; there++) {
        snprintf(line, sizeof line, "%s -o %d.npy --device %s", arguments, there,
                 there ? "cuda" : "cpu");
        const outcome o = program_run(folder, "equinv", "", line);
        GIVES(o, DONE);
        ck_assert_str_eq(o.err, "");
    }
    equinv_tensor expected = load(cpu, folder, "0.npy"), found = load(cpu, folder, "1.npy");
    ck_assert_int_eq(found.dtype, expected.dtype);
    ck_assert_int_eq(found.ndim, expected.ndim);
    ck_assert(equinv_tensor_count(&found) > 0);
    ASSERT_CLOSE(&found, &expected, tolerance);
    equinv_tensor_destroy(cpu, &found);
    equinv_tensor_destroy(cpu, &expected);
}

START_TEST(project_on_both)
{
    equinv_context *const cpu = context_new();
    temp_folder folder = temp_folder_new();
    rng r = {1};
    equinv_tensor mask = tensor_random(cpu, &r, EQUINV_U8, 2, 5, 6);
    for (int64_t i = 0; i < 30; i++)
        tensor_set(&mask, i, i % 4 != 0);
    save(cpu, &folder, "z.npy", tensor_random(cpu, &r, EQUINV_F32, 5, 6, 2, 4, 3, 3));
    save(cpu, &folder, "rows.npy", tensor_random(cpu, &r, EQUINV_F64, 3, 5, 6, 2));
    save(cpu, &folder, "flat.npy", tensor_random(cpu, &r, EQUINV_I32, 2, 5, 6));
    save(cpu, &folder, "mask.npy", mask);
    same_on_both(cpu, &folder, "project z.npy --group C4 --k 5", 1e-5);
    same_on_both(cpu, &folder, "project z.npy --group C4 --k 5 --kind max --templates orthonormal",
                 1e-5);
    same_on_both(cpu, &folder, "project rows.npy --kind sort --mask mask.npy", 0);
    same_on_both(cpu, &folder, "project rows.npy --kind project-sort --k 3", 1e-12);
    same_on_both(cpu, &folder, "project flat.npy --kind sort", 0);
    temp_folder_free(&folder);
    equinv_context_destroy(cpu);
}
END_TEST

/* Some chunks: 8 MiB are 16 of these rows and their codes. */
START_TEST(project_in_chunks)
{
    equinv_context *const cpu = context_new();
    temp_folder folder = temp_folder_new();
    rng r = {2};
    save(cpu, &folder, "rows.npy", tensor_random(cpu, &r, EQUINV_F64, 3, 37, 64, 512));
    same_on_both(cpu, &folder, "project rows.npy --kind sort", 0);
    temp_folder_free(&folder);
    equinv_context_destroy(cpu);
}
END_TEST

START_TEST(extract_on_both)
{
    equinv_context *const cpu = context_new();
    temp_folder folder = temp_folder_new();
    rng r = {3};
    equinv_model *const m = network_small(cpu);
    equinv_model *read = NULL;
    save(cpu, &folder, "images.npy", network_images(cpu, &r, m, 7, EQUINV_U8));
    OK(equinv_model_save(m, temp_path(&folder, "m.safetensors")));
    if (equinv_model_load(cpu, temp_path(&folder, "m.safetensors"), &read) ==
        EQUINV_ERR_UNSUPPORTED) {
        SKIP("%s", equinv_last_error());
    } else {
        same_on_both(cpu, &folder, "extract m.safetensors images.npy", 1e-5);
        same_on_both(cpu, &folder, "extract m.safetensors images.npy --batch 2 --layer logits",
                     1e-4);
        same_on_both(cpu, &folder, "extract m.safetensors images.npy --project sorted --k 3", 1e-4);
    }
    equinv_model_destroy(read);
    equinv_model_destroy(m);
    temp_folder_free(&folder);
    equinv_context_destroy(cpu);
}
END_TEST

/* Images and labels of MNIST's format: [count, 8, 8] with a bright spot where the label says. */
static void write_digits(const temp_folder *folder, const char *images, const char *labels,
                         int count)
{
    bytes i = {0}, l = {0};
    const unsigned char head[] = {0, 0, 8, 3, 0, 0, 0, (unsigned char)count,
                                  0, 0, 0, 8, 0, 0, 0, 8};
    const unsigned char label_head[] = {0, 0, 8, 1, 0, 0, 0, (unsigned char)count};
    bytes_add(&i, head, sizeof head);
    bytes_add(&l, label_head, sizeof label_head);
    for (int n = 0; n < count; n++) {
        unsigned char image[64] = {0};
        const unsigned char label = (unsigned char)(n % 2);
        image[label ? 27 : 2] = 255;
        image[(n * 7) % 64] = 128;
        bytes_add(&i, image, sizeof image);
        bytes_add(&l, &label, 1);
    }
    file_write(temp_path(folder, images), i.at, i.size);
    file_write(temp_path(folder, labels), l.at, l.size);
}

START_TEST(train_on_both)
{
    equinv_context *const cpu = context_new();
    temp_folder folder = temp_folder_new();
    double loss[2], accuracy[2];
    write_digits(&folder, "train-images-idx3-ubyte", "train-labels-idx1-ubyte", 21);
    write_digits(&folder, "t10k-images-idx3-ubyte", "t10k-labels-idx1-ubyte", 6);
    for (int there = 0; there < 2; there++) {
        char line[256];
        snprintf(
            line, sizeof line,
            "train . -o %d.safetensors --epochs 2 --batch 8 --fields 1,1,1,1 --json --device %s",
            there, there ? "cuda" : "cpu");
        const outcome o = program_run(&folder, "equinv", "", line);
        GIVES(o, DONE);
        loss[there] = json_value(o.out, "loss"); /* of the first epoch */
        accuracy[there] = json_value(o.out, "test_accuracy");
        ck_assert_int_eq(count_of(o.out, "\"loss\""), 2);
    }
    ck_assert_msg(loss[0] > 0 && loss[1] >= loss[0] * (1 - 1e-4) && loss[1] <= loss[0] * (1 + 1e-4),
                  "losses are %g on the CPU and %g on the device", loss[0], loss[1]);
    ck_assert(accuracy[0] == accuracy[1]);
    temp_folder_free(&folder);
    equinv_context_destroy(cpu);
}
END_TEST

/* What has to be in CPU memory asks for it, though a device is there and would be chosen. */
START_TEST(report_stays_on_the_cpu)
{
    equinv_context *const cpu = context_new();
    temp_folder folder = temp_folder_new();
    rng r = {4};
    save(cpu, &folder, "z.npy", tensor_random(cpu, &r, EQUINV_F32, 3, 6, 2, 4));
    outcome o = program_run(&folder, "equinv", "", "report z.npy --group C4 --json");
    GIVES(o, DONE);
    o = program_run(&folder, "equinv", "EQUINV_BACKEND=cuda", "report z.npy --group C4 --json");
    GIVES(o, DONE);
    o = program_run(&folder, "equinv", "", "report z.npy --group C4 --device cuda");
    GIVES(o, REFUSED);
    SAYS(o.err, "equinv: report: --device is cuda, but reports are computed on the CPU");
    temp_folder_free(&folder);
    equinv_context_destroy(cpu);
}
END_TEST

START_TEST(a_device_that_is_not_there)
{
    static const char *const commands[] = {"project z.npy -o c.npy --group C4",
                                           "extract m i -o c.npy", "train . -o m"};
    equinv_context *const cpu = context_new();
    temp_folder folder = temp_folder_new();
    rng r = {5};
    save(cpu, &folder, "z.npy", tensor_random(cpu, &r, EQUINV_F32, 3, 6, 2, 4));
    for (int i = 0; i < 3; i++) {
        char line[256];
        snprintf(line, sizeof line, "%s --device cuda", commands[i]);
        const outcome o = program_run(&folder, "equinv", "EQUINV_BACKEND_PATH=./nothing", line);
        GIVES(o, REFUSED);
        SAYS(o.err, "device asks for cuda, which is unavailable: EQUINV_BACKEND_PATH is");
        ck_assert_int_eq(count_of(o.err, "\n"), 1);
    }
    const outcome o = program_run(&folder, "equinv", "EQUINV_BACKEND_PATH=./nothing",
                                  "project z.npy -o c.npy --group C4"); /* auto: the CPU */
    GIVES(o, DONE);
    temp_folder_free(&folder);
    equinv_context_destroy(cpu);
}
END_TEST

int main(void)
{
    const test_entry tests[] = {
        {project_on_both, 1}, {project_in_chunks, 1},       {extract_on_both, 1},
        {train_on_both, 1},   {report_stays_on_the_cpu, 1}, {a_device_that_is_not_there, 1},
    };
    return run_cuda_tests("cuda cli", tests, sizeof tests / sizeof *tests);
}
