/* Molecules as graphs of their heavy atoms: the files they come in, and what makes them molecules. */
#ifndef EXAMPLES_MOLECULES_GRAPH_H
#define EXAMPLES_MOLECULES_GRAPH_H

#include "equinv/equinv.h"

enum { NODES = 9, ATOM_TYPES = 4, BOND_TYPES = 5, PAIRS = NODES * (NODES - 1) / 2 };

/* On the diagonal. */
typedef enum atom { NO_ATOM, CARBON, NITROGEN, OXYGEN, FLUORINE } atom;
/* Everywhere else. */
typedef enum bond { NO_BOND, SINGLE, DOUBLE, TRIPLE, AROMATIC } bond;

/* A row of the files: symmetric, atoms first, absent ones last. */
typedef struct graph {
    uint8_t cell[NODES][NODES];
} graph;

/* Atoms that are there. */
int graph_nodes(const graph *g);

/*
 * Whether the cells are a graph: at least one atom, atoms first, known types, symmetric, no bond of an
 * atom that is not there. False with a sentence in why.
 */
bool graph_check(const graph *g, char *why, size_t size);

/*
 * Whether a graph is a molecule: one piece; hydrogen fills what the bonds leave of C 4, N 3, O 2, F 1;
 * aromatic bonds lie in rings of their kind and can be read as single and double ones, in which every
 * aromatic carbon has one double bond.
 */
bool graph_is_molecule(const graph *g);

/* dst[order[i], order[j]] = src[i, j] for the atoms that are there. */
void graph_permute(const graph *src, const int *order, graph *dst);

/*
 * Reads such a file, U8 [N, 9, 9] in NPY or .npy.gz, and checks every graph: the tensor's data are N
 * graphs (equinv_tensor_destroy releases it). FORMAT, SHAPE, DTYPE and what the library's readers give;
 * then the sentence is in why.
 */
equinv_status graphs_load(equinv_context *ctx, const char *path, equinv_tensor *graphs, char *why,
                          size_t size);

static inline const graph *graph_at(const equinv_tensor *graphs, int64_t i)
{
    return (const graph *)graphs->data + i;
}

#endif
