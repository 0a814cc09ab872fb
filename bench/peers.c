/*
 * What the library is compared with. A peer gets the inputs that the library gets (problem.c) through a
 * runner of its own, which `find` chooses for a case: NULL says that it has nothing to set against it.
 * A new peer is a file peer_<name>.c with its runners, and its line here.
 */
#include <math.h>
#include <stdarg.h>
#include <stdlib.h>
#include <string.h>

#include "bench/peer.h"

static const bench_runner *own_runner(const bench_case *c)
{
    return &c->op->runner;
}

/* The reference is something else only where there is a list to choose from. */
static const bench_runner *reference_runner(const bench_case *c)
{
    return c->op->uses & USES_IMPL ? &c->op->runner : NULL;
}

/* FOUND: of this program, as deps.mk found it; a peer that is not in it keeps its sentence. */
#define NOT_BUILT                                                                                  \
    NULL, "this program was built without it; `make bench-build` installs it and builds again"
#ifdef EQI_HAVE_ONEDNN
#define ONEDNN(find) find, NULL
#else
#define ONEDNN(find) NOT_BUILT
#endif
#ifdef EQI_HAVE_OPENBLAS
#define OPENBLAS(find) find, NULL
#else
#define OPENBLAS(find) NOT_BUILT
#endif
#ifdef EQI_HAVE_STD
#define STD(find) find, NULL
#else
#define STD(find) NOT_BUILT
#endif
/* Of a library that is opened when the program runs. */
#define ON_GPU(find, open) find, NULL, NULL, open, true
#define NOT_ON_GPU                                                                                 \
    NULL, "this program was built without it: its headers were not in CUDA_HOME/include", NULL,    \
        NULL, true
#ifdef EQI_HAVE_CUDNN
#define CUDNN ON_GPU(cudnn_runner, cudnn_open)
#else
#define CUDNN NOT_ON_GPU
#endif
#ifdef EQI_HAVE_CUBLAS
#define CUBLAS ON_GPU(cublas_runner, cublas_open)
#else
#define CUBLAS NOT_ON_GPU
#endif

static const peer peers[] = {
    {"cpu", "the library itself on the CPU, beside --device cuda", own_runner, NULL, NULL, NULL,
     true, false},
    {"one-thread", "the library itself on one thread, beside --threads", own_runner, NULL, NULL,
     NULL, false, true},
    {"ref", "the library's reference implementation on the CPU", reference_runner, NULL, "ref",
     NULL, false, false},
    {"onednn-direct", "oneDNN's direct convolution", ONEDNN(onednn_direct), NULL, NULL, false,
     false},
    {"onednn-auto", "oneDNN, Winograd allowed", ONEDNN(onednn_auto), NULL, NULL, false, false},
    {"onednn-reorder", "oneDNN, reorders timed", ONEDNN(onednn_reorder), NULL, NULL, false, false},
    {"openblas", "OpenBLAS on the expanded matrix", OPENBLAS(openblas_expanded), NULL, NULL, false,
     false},
    {"openblas-fold", "sum over the group, then OpenBLAS", OPENBLAS(openblas_fold), NULL, NULL,
     false, false},
    {"std", "the C++ standard library", STD(std_runner), NULL, NULL, false, false},
    {"cudnn", "cuDNN's convolution, beside --device cuda", CUDNN, false},
    {"cublas", "cuBLAS on the (expanded) matrix, beside --device cuda", CUBLAS, false},
};
enum { PEERS = sizeof peers / sizeof *peers, OTHERS = 3 /* the first that is other software */ };

static int say_missing(const peer *p, const char *why)
{
    return tool_fail("--peer is \"%s\" (%s), which is missing: %s", p->name, p->purpose, why);
}

const peer *peer_find(const char *name, int *code)
{
    char words[256];
    size_t used = 0;
    for (size_t i = 0; i < PEERS && used < sizeof words; i++) {
        used += (size_t)snprintf(words + used, sizeof words - used, "%s%s", i ? ", " : "",
                                 peers[i].name);
        if (strcmp(name, peers[i].name) != 0)
            continue;
        if (!peers[i].missing)
            return &peers[i];
        *code = say_missing(&peers[i], peers[i].missing);
        return NULL;
    }
    *code = tool_misused("--peer is \"%s\", expected all or one of: %s", name, words);
    return NULL;
}

int peer_load(const peer *p)
{
    const char *const why = p->open ? p->open() : NULL;
    return why ? say_missing(p, why) : -1;
}

int peers_all(const peer **list, int most, bool cuda)
{
    int count = 0;
    for (size_t i = OTHERS; i < PEERS && count < most; i++)
        if (!peers[i].missing && (!peers[i].beside_cuda || cuda) &&
            (!peers[i].open || !peers[i].open()))
            list[count++] = &peers[i];
    return count;
}

void peers_print(FILE *out)
{
    for (size_t i = 0; i < PEERS; i++)
        fprintf(out, "  %-16s %s%s\n", peers[i].name, peers[i].purpose,
                peers[i].missing ? " (not in this program)" : "");
}

void peers_begin(int32_t threads)
{
    (void)threads;
#ifdef EQI_HAVE_ONEDNN
    onednn_begin(threads);
#endif
#ifdef EQI_HAVE_OPENBLAS
    openblas_begin(threads);
#endif
}

void peers_describe(FILE *out)
{
    (void)out;
#ifdef EQI_HAVE_ONEDNN
    onednn_describe(out);
#endif
#ifdef EQI_HAVE_OPENBLAS
    openblas_describe(out);
#endif
#ifdef EQI_HAVE_CUDNN
    cudnn_describe(out);
#endif
#ifdef EQI_HAVE_CUBLAS
    cublas_describe(out);
#endif
}

/* ---- what they share --------------------------------------------------------------------------------- */

static char failure[256];

equinv_status peer_failed(const char *format, ...)
{
    va_list arguments;
    va_start(arguments, format);
    vsnprintf(failure, sizeof failure, format, arguments);
    va_end(arguments);
    return EQUINV_ERR_BACKEND;
}

const char *peer_error_take(void)
{
    static char taken[sizeof failure];
    if (!*failure)
        return equinv_last_error();
    strcpy(taken, failure);
    *failure = '\0';
    return taken;
}

float *peer_floats(int64_t count)
{
    const size_t line = 64, bytes = (size_t)count * sizeof(float);
    return aligned_alloc(line, (bytes / line + 1) * line);
}

equinv_status peer_fastest(problem *p, int count, equinv_status (*run)(problem *p, int way),
                           int *fastest)
{
    enum { MOST_WAYS = 16, ROUNDS = 9 };
    const double budget = 1; /* seconds; slow problems get by with two rounds */
    double best[MOST_WAYS];
    equinv_status status = EQUINV_OK;
    for (int i = 0; i < count; i++)
        best[i] = (double)INFINITY;
    const double begin = bench_seconds();
    for (int round = 0; round < ROUNDS && (round < 2 || bench_seconds() - begin < budget); round++)
        for (int i = 0; i < count && count > 1; i++) {
            const double start = sample_seconds();
            if ((status = run(p, i)))
                return status;
            best[i] = fmin(best[i], sample_seconds() - start);
        }
    *fastest = 0;
    for (int i = 1; i < count; i++)
        if (best[i] < best[*fastest])
            *fastest = i;
    return status;
}
