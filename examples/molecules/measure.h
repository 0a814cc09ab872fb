/* What codes of molecules are good for: reconstruction, prediction, neighbours, lines between them. */
#ifndef EXAMPLES_MOLECULES_MEASURE_H
#define EXAMPLES_MOLECULES_MEASURE_H

#include "network.h"

/* Molecules in a random order of their atoms, with their codes: rows of NODES numbers. */
typedef struct coded {
    int64_t count;
    graph *graphs;
    int *nodes;
    float *raw;      /* in the order of the atoms, 0 where none is */
    float *sorted;   /* ascending, atoms first: the mask keeps absent ones out, 0 behind them */
    float *unmasked; /* sorted as if absent atoms were atoms with code 0 */
} coded;

/* A network with what it works on. */
typedef struct codec {
    equinv_context *ctx;
    network *net;
    int64_t batch;
    uint64_t seed;
} codec;

/* Every random number of the measurements: word number i of a stream, 0 .. 2^32 - 1. */
typedef enum stream {
    STREAM_ATOMS = 0x61746f6d, /* "atom": orders of atoms */
    STREAM_EPOCH,              /* orders of molecules */
    STREAM_COPIES,
    STREAM_PAIRS
} stream;
uint32_t random_word(uint64_t seed, stream s, int64_t i, int64_t j);

/* order[0 .. n-1]: a permutation, the same for the same numbers. */
void random_order(uint64_t seed, stream s, int64_t i, int n, int *order);

/* Shuffles the atoms of `count` molecules (copy says which of many ways), encodes and sorts. */
equinv_status code_molecules(const codec *c, const graph *graphs, int64_t count, stream s,
                             int64_t copy, coded *codes);
void coded_free(coded *codes);

/* Codes [count, NODES] to graphs. */
equinv_status decode_codes(const codec *c, const float *codes, const int *nodes, int64_t count,
                           graph *graphs);

/* Shares of atoms, pairs of atoms, bonds and whole molecules that come back as they were. */
typedef struct reconstruction {
    double nodes, pairs, bonds, molecules;
    bool *exact; /* for each molecule; free() */
} reconstruction;
equinv_status measure_reconstruction(const codec *c, const coded *codes, reconstruction *r);

/* Largest differences between what a permutation of the atoms makes of codes and what it should. */
typedef struct permutation_errors {
    double codes, decoded; /* |encode(g x) - g encode(x)| / |encode(x)|; share of pairs and atoms */
    double raw, sorted; /* of the codes as they are compared: in the order of the atoms, sorted */
} permutation_errors;
equinv_status measure_permutations(const codec *c, const graph *graphs, int64_t count,
                                   permutation_errors *errors);

enum { PROPERTIES = 7, NEAREST = 10, OWN_COPIES = 5 };
extern const char *const property_names[PROPERTIES];

typedef struct prediction {
    double r2[PROPERTIES], error[PROPERTIES]; /* share of variance, mean absolute error */
} prediction;

/* Rows [N, NODES] and properties [N, PROPERTIES]: the first `fit` of them are learned from. */
equinv_status predict_by_neighbours(equinv_context *ctx, const float *codes,
                                    const double *properties, int64_t fit, int64_t count,
                                    prediction *p);
equinv_status predict_by_ridge(const float *codes, const double *properties, int64_t fit,
                               int64_t count, prediction *p);

/*
 * Share of a molecule's own copies among its OWN_COPIES nearest, when the gallery has that many copies of
 * each of `count` molecules, every one in an order of its own, and the first `queries` molecules are asked
 * for in one more order; mean distances to the own and to the others.
 */
typedef struct own_copies {
    double share, own, other;
} own_copies;
equinv_status measure_own_copies(const codec *c, const graph *graphs, int64_t count,
                                 int64_t queries, own_copies *raw, own_copies *sorted);

/* Straight lines between codes of exactly reconstructed molecules of NODES atoms. */
enum { STEPS = 11 };
typedef struct line_figures {
    double valid;    /* share of inner steps that are molecules */
    double distinct; /* molecules on a line beside its ends and equal neighbours */
    double length;
} line_figures;
typedef struct lines {
    int64_t pairs, candidates;
    line_figures raw, sorted;
    graph *steps;    /* [2, pairs, STEPS], raw and sorted; free() */
    int64_t example; /* the line with most molecules on it when sorted */
} lines;
equinv_status measure_lines(const codec *c, const coded *codes, const bool *exact, int64_t pairs,
                            lines *l);

/* Distance of sorted codes against the exact assignment, and against codes sorted without a mask. */
typedef struct shortcut {
    int64_t molecules;
    double sorted_seconds, assignment_seconds; /* for all pairs of them */
    double assignment_error;    /* max |sorted distance - assignment| / largest distance */
    double unmasked_error;      /* the same for sorting without a mask, pairs of different size */
    double unmasked_neighbours; /* share of molecules whose nearest one is another then */
} shortcut;
equinv_status measure_shortcut(equinv_context *ctx, const coded *codes, int64_t count, shortcut *s);

#endif
