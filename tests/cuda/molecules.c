/* The autoencoder of molecules on CUDA: losses, gradients, training and the whole program as on the CPU. */
#include <limits.h>
#include <math.h>
#include <unistd.h>

#include "examples/molecules/network.h"
#include "sides.h"
#include "tests/util/graphs.h"
#include "tests/util/program.h"

enum { BATCH = 4 };

/* A network and its optimiser in one place. */
typedef struct trained {
    equinv_context *ctx;
    network *net;
    equinv_optimizer *adam;
    const equinv_parameter *parameters;
    size_t count;
} trained;

static trained trained_new(equinv_context *ctx, equinv_dtype dtype)
{
    const network_desc d = {dtype, BATCH, 5, 2, 0.5, 3};
    equinv_optimizer_desc adam = EQUINV_OPTIMIZER_DESC_INIT;
    trained t = {.ctx = ctx};
    adam.learning_rate = 1e-2, adam.epsilon = 1e-3;
    OK(network_create(ctx, &d, &t.net));
    t.parameters = network_parameters(t.net, &t.count);
    OK(equinv_optimizer_create(ctx, &adam, t.parameters, t.count, &t.adam));
    return t;
}

static void trained_free(trained *t)
{
    equinv_optimizer_destroy(t->adam);
    network_destroy(t->net);
}

static void compare(const trained *there, const trained *here, bool values, double tolerance)
{
    for (size_t i = 0; i < here->count; i++) {
        const equinv_parameter *const a = &there->parameters[i], *const b = &here->parameters[i];
        equinv_tensor found = cuda_back(there->ctx, values ? &a->value : &a->gradient);
        const double error = tensor_error(&found, values ? &b->value : &b->gradient, NULL);
        ck_assert_msg(error <= tolerance, "%s differs by %g", b->name, error);
        equinv_tensor_destroy(there->ctx, &found);
    }
}

START_TEST(training_as_on_the_cpu)
{
    for (int half = 0; half < 2; half++) {
        const double tolerance = half ? 2e-4 : 1e-10;
        sides s = sides_new(1);
        graph graphs[BATCH];
        const graph *list[BATCH];
        trained here = trained_new(s.cpu, half ? EQUINV_F32 : EQUINV_F64);
        trained there = trained_new(s.gpu, half ? EQUINV_F32 : EQUINV_F64);
        for (uint64_t step = 0; step < 3; step++) {
            trained *const both[] = {&here, &there};
            network_losses losses[2];
            graphs_random(&s.r, BATCH, graphs, list);
            for (int k = 0; k < 2; k++) {
                OK(network_load(both[k]->net, list, BATCH - (int)(step % 2)));
                OK(network_gradients(both[k]->net, step, &losses[k]));
            }
            const double a = network_loss(here.net, &losses[0]);
            const double b = network_loss(there.net, &losses[1]);
            ck_assert_msg(fabs(a - b) <= tolerance * a, "loss %g, expected %g", b, a);
            compare(&there, &here, false, 10 * tolerance);
            for (int k = 0; k < 2; k++) {
                OK(equinv_clip_gradients(both[k]->ctx, both[k]->parameters, both[k]->count, 0.5,
                                         NULL));
                OK(equinv_optimizer_step(both[k]->adam));
            }
        }
        compare(&there, &here, true, 10 * tolerance);
        trained_free(&here), trained_free(&there);
        sides_free(&s);
    }
}
END_TEST

START_TEST(codes_as_on_the_cpu)
{
    sides s = sides_new(2);
    graph graphs[BATCH], decoded[2][BATCH];
    const graph *list[BATCH];
    int nodes[BATCH];
    float codes[2][BATCH * NODES];
    equinv_context *const places[] = {s.cpu, s.gpu};
    graphs_random(&s.r, BATCH, graphs, list);
    for (int k = 0; k < 2; k++) {
        trained t = trained_new(places[k], EQUINV_F64);
        OK(network_load(t.net, list, BATCH));
        OK(network_encode(t.net, codes[k]));
        for (int b = 0; b < BATCH; b++)
            nodes[b] = graph_nodes(&graphs[b]);
        OK(network_decode(t.net, codes[0], nodes, BATCH, decoded[k]));
        trained_free(&t);
    }
    for (int i = 0; i < BATCH * NODES; i++)
        ck_assert_msg(fabsf(codes[1][i] - codes[0][i]) <= 1e-6f, "code %d", i);
    ck_assert(memcmp(decoded[0], decoded[1], sizeof decoded[0]) == 0);
    sides_free(&s);
}
END_TEST

/* The program with --device: a step of training, a checkpoint and all figures. */
START_TEST(the_program_as_on_the_cpu)
{
    static const char *const keys[] = {"node_accuracy",    "pair_accuracy", "r2_gap_sorted_10nn",
                                       "r2_mu_raw_10nn",   "own_sorted",    "own_raw",
                                       "variance_2_sorted"};
    enum { KEYS = sizeof keys / sizeof *keys };
    const char *const info = equinv_build_info();
    if (!strstr(info, "zlib: yes") || !strstr(info, "cjson: yes")) {
        SKIP("this build lacks zlib or cJSON");
        return;
    }
    char here[PATH_MAX], arguments[PATH_MAX + 128];
    double figures[2][KEYS];
    temp_folder folder = temp_folder_new();
    ck_assert_ptr_nonnull(getcwd(here, sizeof here));
    for (int k = 0; k < 2; k++) {
        size_t size;
        snprintf(arguments, sizeof arguments,
                 "--data '%s/examples/data' --train 64 --test 50 --epochs 1 -o . --device %s", here,
                 k ? "cuda" : "cpu");
        const outcome o = program_run(&folder, "equinv-molecules", "", arguments);
        GIVES(o, 0);
        SAYS(o.err, k ? "; cuda:0" : "; cpu");
        char *const report = file_read(temp_path(&folder, "molecules.json"), &size);
        for (int i = 0; i < KEYS; i++)
            figures[k][i] = json_value(report, keys[i]);
        free(report);
    }
    for (int i = 0; i < KEYS; i++)
        ck_assert_msg(fabs(figures[1][i] - figures[0][i]) <= 0.02, "%s: %g, expected %g", keys[i],
                      figures[1][i], figures[0][i]);
    temp_folder_free(&folder);
}
END_TEST

int main(void)
{
    const test_entry tests[] = {
        {training_as_on_the_cpu, 1}, {codes_as_on_the_cpu, 1}, {the_program_as_on_the_cpu, 1}};
    return run_cuda_tests("cuda/molecules", tests, sizeof tests / sizeof *tests);
}
