/* The autoencoder of molecules: gradients by differences, what permutations do, training that repeats. */
#include <math.h>

#include "examples/molecules/network.h"
#include "tests/util/graphs.h"
#include "tests/util/layout.h"

enum { BATCH = 4 };

static network *network_of(equinv_context *ctx, equinv_dtype dtype)
{
    const network_desc d = {dtype, BATCH, 5, 2, 0.5, 3};
    network *net = NULL;
    OK(network_create(ctx, &d, &net));
    return net;
}

static double loss_of(void *arg)
{
    network_losses losses;
    OK(network_gradients(arg, 4, &losses));
    return network_loss(arg, &losses);
}

START_TEST(gradients_are_those_of_the_loss)
{
    equinv_context *const ctx = context_new();
    rng r = {1};
    graph graphs[BATCH];
    const graph *list[BATCH];
    network *const net = network_of(ctx, EQUINV_F64);
    size_t count;
    const equinv_parameter *const parameters = network_parameters(net, &count);
    graphs_random(&r, BATCH, graphs, list);
    OK(network_load(net, list, BATCH - 1)); /* one place stays empty */
    for (size_t p = 0; p < count; p++) {
        loss_of(net);
        equinv_tensor gradient = tensor_copy(ctx, &parameters[p].gradient);
        ck_assert_msg(tensor_max_abs(&gradient) > 0, "%s has no gradient", parameters[p].name);
        const int64_t worst =
            gradient_mismatch(&parameters[p].value, &gradient, loss_of, net, 1e-6, 2e-5, 12);
        ck_assert_msg(worst < 0, "%s[%d]", parameters[p].name, (int)worst);
        equinv_tensor_destroy(ctx, &gradient);
    }
    network_destroy(net);
    equinv_context_destroy(ctx);
}
END_TEST

START_TEST(codes_follow_the_atoms)
{
    equinv_context *const ctx = context_new();
    network *const net = network_of(ctx, EQUINV_F64);
    for (uint64_t seed = 0; seed < share_of(20); seed++) {
        rng r = {seed};
        graph graphs[BATCH], moved[BATCH], decoded[2][BATCH];
        const graph *list[BATCH];
        int order[BATCH][NODES], nodes[BATCH];
        float codes[BATCH * NODES], moved_codes[BATCH * NODES];
        graphs_random(&r, BATCH, graphs, list);
        OK(network_load(net, list, BATCH));
        OK(network_encode(net, codes));
        for (int b = 0; b < BATCH; b++) {
            nodes[b] = graph_nodes(&graphs[b]);
            for (int i = 0; i < nodes[b]; i++) {
                const int at = (int)rng_range(&r, 0, i);
                order[b][i] = order[b][at];
                order[b][at] = i;
            }
            graph_permute(&graphs[b], order[b], &moved[b]);
            list[b] = &moved[b];
        }
        OK(network_load(net, list, BATCH));
        OK(network_encode(net, moved_codes));
        for (int b = 0; b < BATCH; b++)
            for (int i = 0; i < NODES; i++) {
                const int to = i < nodes[b] ? order[b][i] : i;
                const float z = codes[b * NODES + i];
                ck_assert_msg(fabsf(moved_codes[b * NODES + to] - z) <= 1e-6f * (1 + fabsf(z)),
                              "seed %d", (int)seed);
                ck_assert(i < nodes[b] || z == 0);
            }
        OK(network_decode(net, codes, nodes, BATCH, decoded[0]));
        OK(network_decode(net, moved_codes, nodes, BATCH, decoded[1]));
        for (int b = 0; b < BATCH; b++) {
            graph back;
            char why[128];
            ck_assert_msg(graph_check(&decoded[0][b], why, sizeof why), "%s", why);
            graph_permute(&decoded[0][b], order[b], &back);
            ck_assert(memcmp(&back, &decoded[1][b], sizeof back) == 0);
        }
    }
    network_destroy(net);
    equinv_context_destroy(ctx);
}
END_TEST

/* Twenty steps of Adam on one batch lower the loss, and repeat to the bit. */
START_TEST(training_repeats)
{
    equinv_context *const ctx = context_new();
    double last[2];
    for (int run = 0; run < 2; run++) {
        rng r = {9};
        graph graphs[BATCH];
        const graph *list[BATCH];
        size_t count;
        network_losses losses;
        equinv_optimizer *adam;
        equinv_optimizer_desc d = EQUINV_OPTIMIZER_DESC_INIT;
        d.learning_rate = 1e-2;
        network *const net = network_of(ctx, EQUINV_F32);
        const equinv_parameter *const parameters = network_parameters(net, &count);
        OK(equinv_optimizer_create(ctx, &d, parameters, count, &adam));
        graphs_random(&r, BATCH, graphs, list);
        OK(network_load(net, list, BATCH));
        double first = 0;
        for (uint64_t step = 0; step < 20; step++) {
            OK(network_gradients(net, step, &losses));
            OK(equinv_optimizer_step(adam));
            last[run] = network_loss(net, &losses);
            first = step ? first : last[run];
        }
        ck_assert_msg(last[run] < 0.8 * first, "from %g to %g", first, last[run]);
        equinv_optimizer_destroy(adam);
        network_destroy(net);
    }
    ck_assert(last[0] == last[1]);
    equinv_context_destroy(ctx);
}
END_TEST

int main(void)
{
    const test_entry tests[] = {
        {gradients_are_those_of_the_loss, 1},
        {codes_follow_the_atoms, 1},
        {training_repeats, 1},
    };
    return run_tests("molecules_network", tests, sizeof tests / sizeof *tests);
}
