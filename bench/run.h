/* A run of `check` or `perf`: run.c selects cases and times them, contest.c makes and checks them. */
#ifndef BENCH_RUN_H
#define BENCH_RUN_H

#include "bench/bench.h"

typedef struct run {
    const run_options *options;
    bool timing;
    equinv_context *cpu, *cuda; /* cuda NULL: rows are for the CPU */
    equinv_context *one;        /* of one thread, for the peer that is; or NULL */
    const peer *peers[MOST_PEERS];
    int peer_count;
    bool every_peer; /* --peer all: those that have nothing for a case are left out */
    FILE *table, *json;
    machine machine;
    int argc;
    char **argv;
    bool headed;
    int code, found;
    bool seen[MOST_NAMES]; /* which of the named cases there are */
} run;

equinv_context *run_device(const run *r);
/* Rows go on after a case that fails; the exit code remembers it. */
void case_failed(run *r, const bench_case *c, const char *what);

/* Everybody who runs a case. In a network the convolutions run by themselves, too. */
typedef struct contest {
    problem own, others[MOST_PEERS];
    int layers; /* how many; the CPU alone */
    problem own_layers[MOST_CONVOLUTIONS], other_layers[MOST_PEERS][MOST_CONVOLUTIONS];
    const peer *peers[MOST_PEERS];
    int count; /* of others */
    double own_error, errors[MOST_PEERS];
    int64_t check_batch;
} contest;

/* Problems of all sides, each checked; false after a message. */
bool contest_begin(run *r, const bench_case *c, contest *k);
void contest_end(contest *k);
/* Compares and prints a line for each implementation that was asked for. */
bool check_case(run *r, const bench_case *c);

#endif
