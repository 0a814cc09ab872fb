/* A program that runs one experiment: its options, its messages, its networks and its report. */
#ifndef EXAMPLES_EXPERIMENT_H
#define EXAMPLES_EXPERIMENT_H

#include "common.h"
#include "tools/digits.h"
#include "tools/tool.h"

/* The program's own name, which begins its messages; its main.c has it. */
extern const char program_name[];

typedef struct experiment {
    const char *data;    /* folder of MNIST's files */
    const char *folder;  /* where report and pictures go */
    int64_t train, test; /* images used at most */
    int64_t epochs;      /* passes over the training images */
    uint64_t seed;
    equinv_context_desc device;
} experiment;

/* The defaults: the digits that the repository has, the whole experiment, on the CPU. */
experiment experiment_default(int64_t epochs);

/*
 * Main of an experiment: reads the options, runs it where they say, and gives the exit code. doc: a sentence
 * for --help.
 */
typedef equinv_status (*experiment_run)(const place *p, const experiment *e, bool *written);
int experiment_main(experiment *e, experiment_run run, const char *doc, int argc, char **argv);

/* What went wrong, on stderr; gives the exit code. */
int experiment_failed(equinv_status status);

/*
 * A network for the digits (tools/digits.h), trained with a line of progress where stderr is a
 * terminal; augment may be NULL, user is its own.
 */
typedef struct training {
    equinv_group group;
    int64_t fields[DIGITS_STAGES], epochs, batch, copies;
    double learning_rate, weight_decay;
    equinv_status (*augment)(void *user, int64_t epoch, int64_t image, int64_t copy,
                             uint8_t *pixels);
    void *user;
} training;
equinv_status train_network(const place *p, const experiment *e, const digits *d,
                            const training *how, equinv_model **model, double *seconds);

/* The demo's network: C4, four convolutions of 8 to 16 fields. */
training c4_network(int64_t epochs);

/* Right answers of a network to every set of queries. */
equinv_status network_accuracy(const place *p, equinv_model *model, const digit_sets *images,
                               double accuracy[QUERY_SETS]);

/* Learnable numbers of a model; 0 if it has none. */
int64_t parameter_count(equinv_model *model);

/* A report of one JSON object, complete or not at all. */
typedef struct report_file {
    output file;
    json json;
} report_file;
bool report_begin(report_file *r, const char *folder, const char *name);
bool report_end(report_file *r);

/* How it was run: seed, device, images, seconds. */
void report_run(json *j, const experiment *e, const digits *d, const place *p, double seconds);

/* A code's figures as one object. */
extern const char *const query_names[QUERY_SETS]; /* "upright", "90", "any" */
void json_code(json *j, const code_figures *f);

#endif
