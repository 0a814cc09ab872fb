/* One case: the reference, everybody who is compared with it, the check. */
#include <math.h>
#include <string.h>

#include "bench/peer.h"
#include "bench/run.h"

equinv_context *run_device(const run *r)
{
    return r->cuda ? r->cuda : r->cpu;
}

void case_failed(run *r, const bench_case *c, const char *what)
{
    r->code =
        tool_fail("%s, batch %" PRId64 ": %s: %s", c->name, c->batch, what, peer_error_take());
}

/* ---- reference -------------------------------------------------------------------------------------- */

/*
 * The reference at the case's batch, or at a smaller one where that would take longer than
 * --check-seconds, judged by one sample. Operations without a list of implementations run as they are in
 * double precision.
 */
static equinv_status reference_fit(const run *r, const bench_case *c, problem *reference)
{
    bench_case small = *c;
    const int power = c->op->batch_power;
    if (power > 0 && c->batch > 1)
        small.batch = 1;
    for (;;) {
        equinv_status status =
            problem_create(&small, &c->op->runner, r->cpu, EQUINV_F64, "ref", reference);
        if (status)
            return status;
        const double start = bench_seconds();
        status = problem_run(reference);
        const double seconds = bench_seconds() - start;
        if (status) {
            problem_destroy(reference);
            return status;
        }
        if (small.batch == c->batch || small.batch > 1)
            return EQUINV_OK;
        const double fit = r->options->check_seconds / fmax(seconds, 1e-7);
        const double batch = fmin(floor(power == 2 ? sqrt(fit) : fit), (double)c->batch);
        if (batch < 2)
            return EQUINV_OK;
        problem_destroy(reference);
        small.batch = (int64_t)batch;
    }
}

/* That one without what rounding may turn round: what was taken from it is told. */
static equinv_status reference_run(const run *r, const bench_case *c, problem *reference)
{
    int64_t taken = 0, all = 0;
    equinv_status status = reference_fit(r, c, reference);
    if (status || !c->op->settle)
        return status;
    status = c->op->settle(reference, reference, &taken, &all);
    if (!status)
        status = problem_run(reference);
    if (status)
        problem_destroy(reference);
    else if (taken > 0)
        fprintf(
            stderr,
            "%s, batch %" PRId64 ": %" PRId64 " of %" PRId64
            " codes are as near to a kink as rounding: no gradient comes to them in the check\n",
            c->name, c->batch, taken, all);
    return status;
}

/* ---- check ------------------------------------------------------------------------------------------ */

/* Runs the timed problem, or a smaller one of its kind, and compares. */
static equinv_status check(problem *timed, const problem *reference, double *error)
{
    if (timed->runner->incomparable) {
        *error = (double)NAN;
        return problem_run(timed);
    }
    problem small = {.ctx = NULL}, *p = timed;
    equinv_status status = EQUINV_OK;
    if (reference->what.batch != timed->what.batch) {
        status = problem_create(&reference->what, timed->runner, timed->ctx, timed->dtype,
                                timed->impl, &small);
        p = &small;
    }
    int64_t taken, all;
    const operation *const op = p->what.op;
    if (!status && op->settle && p->runner == &op->runner)
        status = op->settle(reference, p, &taken, &all);
    if (!status)
        status = problem_run(p);
    if (!status)
        status = problem_error(p, reference, error);
    if (p == &small && small.ctx)
        problem_destroy(&small);
    return status;
}

static double limit_of(const bench_case *c)
{
    return c->dtype == EQUINV_F64 ? fmin(c->op->limit, 1e-11) : c->op->limit;
}

/* ---- one case at one batch -------------------------------------------------------------------------- */

static void layers_end(problem *layers, int count)
{
    for (int l = 0; l < count; l++)
        if (layers[l].ctx)
            problem_destroy(&layers[l]);
}

void contest_end(contest *k)
{
    problem_destroy(&k->own);
    layers_end(k->own_layers, k->layers);
    for (int i = 0; i < k->count; i++) {
        problem_destroy(&k->others[i]);
        layers_end(k->other_layers[i], k->layers);
    }
}

/* Parts of a network on both sides, unchecked: they are cases of their own. */
static equinv_status add_layers(run *r, const bench_case *c, contest *k)
{
    bench_case list[MOST_CONVOLUTIONS];
    const int count = c->op->parts && !r->cuda ? c->op->parts(c, list) : 0;
    equinv_status status = EQUINV_OK;
    k->layers = count; /* those that are not made yet are empty */
    for (int l = 0; !status && l < count; l++) {
        status = problem_create(&list[l], &list[l].op->runner, r->cpu, c->dtype, NULL,
                                &k->own_layers[l]);
        for (int i = 0; !status && i < k->count; i++) {
            const bench_runner *const runner = k->peers[i]->find(&list[l]);
            if (runner)
                status = problem_create(&list[l], runner, r->cpu, c->dtype, NULL,
                                        &k->other_layers[i][l]);
        }
    }
    return status;
}

/* A peer that is far off was asked for something else: its time would mean nothing. */
static bool within_limit(run *r, const bench_case *c, const char *whose, double error, double limit)
{
    if (isnan(error) || error <= limit)
        return true;
    r->code = tool_fail("%s, batch %" PRId64 ": %smax_err is %.1e, expected at most %.1e", c->name,
                        c->batch, whose, error, limit);
    return false;
}

static bool add_peer(run *r, const bench_case *c, const peer *p, const problem *reference,
                     contest *k)
{
    const bench_runner *const runner = p->find(c);
    const int i = k->count;
    if (!runner) {
        if (!r->every_peer)
            r->code =
                tool_fail("%s: peer \"%s\" has nothing for --op %s with this pass, kind and dtype",
                          c->name, p->name, c->op->name);
        return r->every_peer;
    }
    equinv_context *const ctx = p->open ? r->cuda : p->one_thread ? r->one : r->cpu;
    if (problem_create(c, runner, ctx, c->dtype, p->impl, &k->others[i])) {
        case_failed(r, c, p->name);
        return false;
    }
    k->peers[k->count++] = p;
    if (check(&k->others[i], reference, &k->errors[i])) {
        case_failed(r, c, p->name);
        return false;
    }
    return within_limit(r, c, "peer's ", k->errors[i], 10 * limit_of(c));
}

bool contest_begin(run *r, const bench_case *c, contest *k)
{
    problem reference;
    *k = (contest){.check_batch = 0};
    if (problem_create(c, &c->op->runner, run_device(r), c->dtype, *c->impl ? c->impl : NULL,
                       &k->own)) {
        case_failed(r, c, "refused");
        return false;
    }
    bool good = true;
    if (reference_run(r, c, &reference)) {
        case_failed(r, c, "reference");
        contest_end(k);
        return false;
    }
    k->check_batch = reference.what.batch;
    if (check(&k->own, &reference, &k->own_error)) {
        case_failed(r, c, "check");
        good = false;
    }
    for (int i = 0; good && i < r->peer_count; i++)
        good = add_peer(r, c, r->peers[i], &reference, k);
    problem_destroy(&reference);
    good = good && within_limit(r, c, "", k->own_error, limit_of(c));
    if (good && add_layers(r, c, k)) {
        case_failed(r, c, "its parts");
        good = false;
    }
    if (!good)
        contest_end(k);
    return good;
}

/* ---- check alone ------------------------------------------------------------------------------------ */

static void print_checked(run *r, const problem *p, double error)
{
    const bench_case *const c = &p->what;
    if (!r->headed)
        fprintf(r->table, "%-34s %7s %-20s %9s %9s\n", "case", "batch", "impl", "max_err",
                "allowed");
    r->headed = true;
    fprintf(r->table, "%-34s %7" PRId64 " %-20s %9.1e %9.1e\n", c->name, c->batch,
            p->impl_name ? p->impl_name : "-", error, limit_of(c));
    fflush(r->table);
}

/* One implementation at the reference's batch. With --impl all those that decline are left out. */
static bool check_impl(run *r, const bench_case *c, const char *impl, bool all,
                       const problem *reference)
{
    problem p;
    double error = 0;
    const equinv_status status =
        problem_create(&reference->what, &c->op->runner, run_device(r), c->dtype, impl, &p);
    if (status == EQUINV_ERR_UNSUPPORTED && all)
        return true;
    if (status) {
        case_failed(r, c, "refused");
        return false;
    }
    bool good = check(&p, reference, &error) == EQUINV_OK;
    if (!good)
        case_failed(r, c, "check");
    good = good && within_limit(r, c, "", error, limit_of(c));
    if (good)
        print_checked(r, &p, error);
    problem_destroy(&p);
    return good;
}

bool check_case(run *r, const bench_case *c)
{
    const bool all = c->op->impls && strcmp(c->impl, "all") == 0;
    const char *const one[] = {*c->impl ? c->impl : NULL, NULL};
    const char *const *impl = all ? c->op->impls : one;
    problem reference;
    if (reference_run(r, c, &reference)) {
        case_failed(r, c, "refused");
        return false;
    }
    bool good = true;
    do
        good = check_impl(r, c, *impl, all, &reference) && good;
    while (*impl && *++impl);
    problem_destroy(&reference);
    return good;
}
