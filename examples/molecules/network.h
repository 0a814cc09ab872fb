/*
 * A graph autoencoder that commutes with permutations of the atoms. One number an atom is its code; the
 * decoder sees the codes alone, so that permuted codes are permuted molecules.
 *
 *     encoder   pair tensor (bond planes, atom types on the diagonal, identity)
 *               -> 2->2 -> blocks -> 2->1: mean and log variance of every atom
 *     decoder   z and its sines and cosines -> 1->1 -> leaky ReLU -> 1->1 -> outer product
 *               -> 2->2 -> blocks -> 2->1: atom types, 2->2: bond types
 *     block     x + 2->2(leaky ReLU(layer norm(x)))
 *
 * Every 2->2 layer is the symmetric one: a bond has no direction.
 */
#ifndef EXAMPLES_MOLECULES_NETWORK_H
#define EXAMPLES_MOLECULES_NETWORK_H

#include "graph.h"

typedef struct network network;

typedef struct network_desc {
    equinv_dtype dtype;
    int64_t batch;    /* molecules at a time */
    int64_t channels; /* between layers */
    int64_t blocks;   /* in encoder and decoder each; at most NETWORK_BLOCKS */
    double kl_weight; /* of the divergence, beside the cross-entropies of atoms and of pairs */
    uint64_t seed;    /* initial weights and the noise of codes */
} network_desc;

enum { NETWORK_BLOCKS = 4, FREQUENCIES = 6 };

equinv_status network_create(equinv_context *ctx, const network_desc *desc, network **net);
void network_destroy(network *net); /* NULL is fine */

/* Learnable arrays with their gradients, as long as the network lives. */
const equinv_parameter *network_parameters(network *net, size_t *count);

/* What a batch is made of; fewer than the network's batch leave places without atoms. */
equinv_status network_load(network *net, const graph *const *graphs, int64_t count);

/* Codes of the loaded batch, means [batch, NODES] without noise; absent atoms have 0. */
equinv_status network_encode(network *net, float *means);

/*
 * What codes [count, NODES] of molecules of so many atoms decode to: the likeliest types. Replaces the
 * loaded batch.
 */
equinv_status network_decode(network *net, const float *codes, const int *nodes, int64_t count,
                             graph *graphs);

/* Losses of the loaded batch, with the noise of this step, and the gradients of all parameters. */
typedef struct network_losses {
    double nodes, pairs, divergence;
} network_losses;
equinv_status network_gradients(network *net, uint64_t step, network_losses *losses);

/* nodes + pairs + kl_weight divergence */
double network_loss(const network *net, const network_losses *losses);

#endif
