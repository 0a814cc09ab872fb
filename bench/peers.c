/*
 * What the library is compared with. A peer gets the inputs that the library gets (problem.c) through a
 * runner of its own, which `find` chooses for a case: NULL says that it has nothing to set against it.
 * A new peer is a file peer_<name>.c with its runners, and its line here.
 */
#include <string.h>

#include "bench/bench.h"

static const bench_runner *own_runner(const bench_case *c)
{
    return &c->op->runner;
}

/* The reference is something else only where there is a list to choose from. */
static const bench_runner *reference_runner(const bench_case *c)
{
    return c->op->uses & USES_IMPL ? &c->op->runner : NULL;
}

static const char not_built[] = "this program was built without it";

static const peer peers[] = {
    {"cpu", "the library itself on the CPU, beside --device cuda", own_runner, NULL, NULL},
    {"ref", "the library's reference implementation on the CPU", reference_runner, NULL, "ref"},
    {"onednn-direct", "oneDNN's direct convolution", NULL, not_built, NULL},
    {"onednn-auto", "oneDNN, Winograd allowed", NULL, not_built, NULL},
    {"onednn-reorder", "oneDNN, reorders timed", NULL, not_built, NULL},
    {"openblas", "OpenBLAS on the expanded matrix", NULL, not_built, NULL},
    {"openblas-fold", "sum over the group, then OpenBLAS", NULL, not_built, NULL},
    {"std", "the C++ standard library", NULL, not_built, NULL},
};
enum { PEERS = sizeof peers / sizeof *peers };

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
        *code = tool_fail("--peer is \"%s\" (%s), which is missing: %s", name, peers[i].purpose,
                          peers[i].missing);
        return NULL;
    }
    *code = tool_misused("--peer is \"%s\", expected one of: %s", name, words);
    return NULL;
}

void peers_print(FILE *out)
{
    for (size_t i = 0; i < PEERS; i++)
        fprintf(out, "  %-16s %s%s\n", peers[i].name, peers[i].purpose,
                peers[i].missing ? " (not in this program)" : "");
}
