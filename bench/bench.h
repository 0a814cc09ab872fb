/*
 * The program `equinv-bench`: times the library's operations and says how far each result is from the
 * double-precision reference. It uses the public header alone. What it shares with `equinv`: numbers and
 * words in options, JSON (tools/options.c, tools/json.c); messages are its own (bench/main.c).
 *
 * The way of a row: a case (options.c, cases.c) -> problems, one for each device and peer, with the same
 * inputs (problem.c, op_*.c, peers.c) -> check against the reference, then interleaved timing (run.c,
 * timing.c) -> table and JSON (table.c).
 *
 * Text with numbers may use printf: the program never calls setlocale, so the decimal point is fixed.
 */
#ifndef BENCH_BENCH_H
#define BENCH_BENCH_H

#include "tools/tool.h"

/* ---- cases ---------------------------------------------------------------------------------- */

typedef enum pass { PASS_FORWARD = 1, PASS_BACKWARD_DATA = 2, PASS_BACKWARD_WEIGHTS = 4 } pass;

typedef struct operation operation;

enum { MOST_BATCHES = 16, MOST_CONVOLUTIONS = 8 };

/* What is timed. Numbers that an operation does not use are ignored; 0: the operation's default. */
typedef struct bench_case {
    char name[64];
    const operation *op;
    equinv_group group;
    int64_t fields_in, fields_out, kernel, height, width, stride, dilation;
    int64_t padding; /* -1: (kernel - 1) / 2 */
    int64_t batch, k, rows, channels, count;
    int64_t batches[MOST_BATCHES]; /* a row for each, if there are any */
    int batch_count;
    int kind; /* value of one of the operation's kinds */
    pass pass;
    equinv_dtype dtype;
    uint64_t seed;
    char kind_text[16], impl[32]; /* "": the default */
} bench_case;

int64_t case_order(const bench_case *c);      /* |G|; 1 for S */
int64_t case_gallery(const bench_case *c);    /* rows that neighbours are looked for in */
int64_t case_neighbours(const bench_case *c); /* of a query */

/* ---- options (options.c) -------------------------------------------------------------------- */

enum { MOST_NAMES = 64, MOST_PEERS = 8 };

typedef struct run_options {
    equinv_context_desc context;
    const char *json, *cases; /* files; NULL: none */
    double seconds, check_seconds;
    int name_count, peer_count;
    const char *names[MOST_NAMES];
    char peers[MOST_PEERS][24];
    int clock;               /* sample_clock */
    bool op_given, answered; /* answered: --help or --version was */
} run_options;

/*
 * Reads arguments into a case and, if options is not NULL, everything that is not of the case.
 * -1: go on, else the exit code.
 */
int options_parse(int argc, char **argv, bench_case *c, run_options *options);
void case_defaults(bench_case *c);
/* Fills in what depends on the operation, and a name if there is none. -1, or the exit code. */
int case_complete(bench_case *c);

/* ---- named cases (cases.c) ------------------------------------------------------------------ */

/*
 * Calls visit for every line "name --flag value .." of a file (NULL: the cases that the program was
 * built with); its result other than -1 ends the walk and is given back. `line` is without comment.
 */
typedef int case_visit(void *user, const char *name, const char *line);
int cases_walk(const char *path, case_visit *visit, void *user);
/* Reads such a line into c. */
int case_read(const char *line, bench_case *c);

/* ---- problems (problem.c) ------------------------------------------------------------------- */

enum { MOST_TENSORS = 6 };

/* A case on one context, in one dtype, with its tensors. */
typedef struct problem {
    bench_case what;
    const struct bench_runner *runner;
    equinv_context *ctx;
    equinv_dtype dtype;
    const char *impl;      /* forced by name; NULL: what dispatch chooses */
    const char *impl_name; /* what it chose; NULL where the operation has no list */
    int inputs, outputs, saved_count;
    equinv_tensor input[MOST_TENSORS], output[MOST_TENSORS], saved[MOST_TENSORS];
    equinv_tensor host_input[MOST_TENSORS], host_output[MOST_TENSORS]; /* page-locked; CUDA alone */
    equinv_plan *plan;
    equinv_projection *projection;
    equinv_model *model;
    equinv_optimizer *optimizer;
    void *own; /* the runner's */
} problem;

/* How a problem is made and run: an operation's own or a peer's. */
typedef struct bench_runner {
    equinv_status (*create)(problem *p); /* plan; tensors by problem_input and problem_output */
    equinv_status (*run)(problem *p);    /* one call; on CUDA it may still be under way */
    void (*destroy)(problem *p);         /* of `own`; may be NULL */
    equinv_status (*run_on_host)(
        problem *p);                     /* run on host_input and host_output; NULL: by copies */
    equinv_status (*finish)(problem *p); /* not timed: a result into output to compare; or NULL */
    bool incomparable;                   /* other output than ours by nature: random streams */
    equinv_status (*wait)(problem *p);   /* for work on a stream of the peer's own; or NULL */
} bench_runner;

/*
 * For create: row-major tensors. Inputs have values from the case's seed and their number, the same in
 * every dtype and on every device; outputs are what is compared; saved is whatever else run needs.
 */
equinv_status problem_input(problem *p, equinv_dtype dtype, int32_t ndim, const int64_t *shape);
equinv_status problem_output(problem *p, equinv_dtype dtype, int32_t ndim, const int64_t *shape);
equinv_status problem_saved(problem *p, size_t bytes);
/* Such values, uniform in -1 .. 1 times scale and exact in fp32 (integers: 0 .. 9), into any tensor. */
equinv_status problem_fill(problem *p, const equinv_tensor *t, uint64_t number, double scale);
#define SHAPE(...) ((const int64_t[]){__VA_ARGS__})

equinv_status problem_create(const bench_case *what, const bench_runner *runner,
                             equinv_context *ctx, equinv_dtype dtype, const char *impl, problem *p);
void problem_destroy(problem *p);
bool on_cuda(const equinv_context *ctx);
/* Until everything that run began is done. */
equinv_status problem_wait(problem *p);
/* One call, completed. */
equinv_status problem_run(problem *p);
/* max |y - y64| / max |y64| over the outputs of two problems that have run. */
equinv_status problem_error(problem *p, const problem *reference, double *error);

/* ---- operations (operations.c, op_*.c) ------------------------------------------------------- */

/* What goes into the names of unnamed cases; USES_IMPL: there is a list of implementations. */
enum {
    USES_GROUP = 1,
    USES_OUT = 2,
    USES_KERNEL = 4,
    USES_K = 8,
    USES_SIZE = 16,
    USES_IMPL = 32,
    USES_ROWS = 64
};

struct operation {
    const char *name, *purpose;
    bench_runner runner;
    int passes;                              /* of `pass`, those there are */
    int uses;                                /* of USES_ */
    int batch_power;                         /* how work grows with the batch: 0, 1, 2 */
    const word *kinds;                       /* words of --kind, the default first; or NULL */
    int64_t fields_in, size, kernel, stride; /* defaults */
    double (*dense)(const bench_case *c);    /* multiplications of the dense form; or NULL */
    double (*least)(const bench_case *c);    /* those of the group Fourier form; or NULL */
    int (*parts)(const bench_case *c, bench_case *list); /* timed by themselves beside; or NULL */
    const char *parts_name;
    double limit;             /* largest max_err in f32 */
    const char *const *impls; /* names for --impl all; or NULL */
    /*
     * Takes from p's inputs what rounding may turn round in the reference, which is in double and of p's sizes, and
     * says from how many of `all` codes; called for the reference itself, too. NULL: nothing.
     */
    equinv_status (*settle)(const problem *reference, problem *p, int64_t *taken, int64_t *all);
};

extern const operation conv_operation, conv_lift_operation, conv_plane_operation;
extern const operation project_operation, rowsort_operation, templates_operation;
extern const operation bispectrum_operation;
extern const operation orbit_distance_operation, neighbours_operation;
extern const operation act_operation, relu_operation, batch_norm_operation, pool_operation,
    upsample_operation;
extern const operation dense_operation;
extern const operation node_linear_operation, node_norm_operation;
extern const operation extract_operation, train_step_operation;
extern const operation filters_operation, plans_operation;

/* By the word of --op; NULL after a message. */
const operation *operation_find(const char *name);
void operations_print(FILE *out);
extern const word pass_words[];
extern const word network_words[]; /* of --kind (op_model.c) */

/* ---- peers (peers.c, peer_*.c) ---------------------------------------------------------------- */

typedef struct peer {
    const char *name, *purpose;
    const bench_runner *(*find)(const bench_case *c); /* NULL: it has nothing for this case */
    const char *missing;                              /* why this build does not have it; or NULL */
    const char *impl;                                 /* of ours, forced by name; or NULL */
    const char *(*open)(void); /* on the device, with a library opened now: NULL, or why not */
    bool beside_cuda;          /* needs --device cuda */
    bool one_thread;           /* of ours */
} peer;

/* NULL after a message, with *code. */
const peer *peer_find(const char *name, int *code);
/* Loads what it needs at run time: -1, or the exit code after a message. */
int peer_load(const peer *p);
/* Those that are compared by `--peer all`: other software that is there; at most `most`. */
int peers_all(const peer **list, int most, bool cuda);
void peers_print(FILE *out);
/* Tells the peers how many threads a run has, before anything is created; then their versions. */
void peers_begin(int32_t threads);
void peers_describe(FILE *out);

/* ---- timing (timing.c) ----------------------------------------------------------------------- */

typedef struct racer {
    problem *problem;
    bool copies;         /* inputs in and outputs out in every call */
    int64_t calls;       /* in a sample; set by time_all */
    double median, best; /* seconds a call */
} racer;

/* A clock that only goes forward. */
double bench_seconds(void);

/* What samples are measured by. Time of this thread alone leaves out when others had the core. */
typedef enum sample_clock { CLOCK_WALL = 0, CLOCK_CPU = 1 } sample_clock;
extern const word clock_words[];
void sample_clock_choose(sample_clock clock);
double sample_seconds(void);

/*
 * Warm-up, then one sample of each in turn, again and again for about `seconds` each; `samples` says how
 * often.
 */
equinv_status time_all(racer *list, int count, double seconds, int *samples);

/* ---- the machine (machine.c, gpu.c, header.c) ------------------------------------------------------- */

typedef struct machine {
    double fma_peak;          /* GFLOP/s of one core, f32 */
    double fma_peak_together; /* of as many threads as the run has */
    const char *fma_isa;
    double copy_bandwidth;                 /* GB/s, read and written bytes */
    double gpu_peak, gpu_copy, gpu_upload; /* NaN without a GPU */
} machine;

const char *machine_cpu(char *text, size_t size);
double machine_fma_peak(const char **isa);
double machine_copy_bandwidth(void);
/* The first of several threads together; NaN where they could not be had. */
double machine_fma_peak_together(int32_t threads);
/* Through the library: a large dense layer in f32, GFLOP/s; copies in GB/s as above, and to the GPU. */
equinv_status gpu_peak(equinv_context *ctx, double *gflops);
equinv_status gpu_copy_bandwidth(equinv_context *ctx, bool upload, double *bandwidth);
/* Measures, and prints what a reader of the table must know. */
void header_print(FILE *out, equinv_context *cpu, equinv_context *cuda, machine *m);

/* ---- rows (table.c) --------------------------------------------------------------------------- */

/* NaN: not known. */
typedef struct bench_row {
    const bench_case *what;
    const char *impl, *peer, *device; /* impl, peer may be NULL */
    int32_t threads;
    int samples;
    int64_t batch, check_batch; /* timed, compared */
    double time, copies_time, peer_time, best, peer_best, error, peer_error, dense_gflops,
        peak_share;
    double layers, peer_layers; /* parts by themselves */
    const char *peer_impl;      /* which of its kernels; may be NULL */
    const char *clock;
} bench_row;

void table_head(FILE *out);
void table_row(FILE *out, const bench_row *r);
void json_row(FILE *out, const bench_row *r);

/* ---- commands (run.c) ------------------------------------------------------------------------- */

int run_list(const run_options *options);
/* Checks the selected cases and, for perf, times them. `argv` is read again over named cases. */
int run_cases(const run_options *options, int argc, char **argv, bool timing);

/* Prefix for messages, e.g. "file:12"; "" for none. */
void message_place(const char *text);

#endif
