/* Interleaved timing: what else the machine does meets everybody alike. */
#include <math.h>
#include <stdlib.h>
#include <time.h>

#include "bench/bench.h"

enum { MOST_SAMPLES = 4096, LEAST_SAMPLES = 20, FEWEST_SAMPLES = 3, MOST_CALLS = 200 };

#define SHORT_CALL 2e-6 /* seconds */
#define SHORT_SAMPLE 2e-5

const word clock_words[] = {{"wall", CLOCK_WALL}, {"cpu", CLOCK_CPU}, {NULL, 0}};
static clockid_t sample_id = CLOCK_MONOTONIC;

static double seconds_of(clockid_t id)
{
    struct timespec now;
    clock_gettime(id, &now);
    return (double)now.tv_sec + 1e-9 * (double)now.tv_nsec;
}

double bench_seconds(void)
{
    return seconds_of(CLOCK_MONOTONIC);
}

void sample_clock_choose(sample_clock clock)
{
    sample_id = clock == CLOCK_CPU ? CLOCK_THREAD_CPUTIME_ID : CLOCK_MONOTONIC;
}

double sample_seconds(void)
{
    return seconds_of(sample_id);
}

static equinv_status call_with_copies(problem *p)
{
    equinv_status status = EQUINV_OK;
    if (p->runner->run_on_host)
        return p->runner->run_on_host(p);
    for (int i = 0; !status && i < p->inputs; i++)
        status = equinv_tensor_copy(p->ctx, &p->host_input[i], &p->input[i]);
    if (!status)
        status = p->runner->run(p);
    for (int i = 0; !status && i < p->outputs; i++)
        status = equinv_tensor_copy(p->ctx, &p->output[i], &p->host_output[i]);
    return status;
}

/*
 * One sample: seconds a call, the wait for the device shared by its calls. On some virtual machines the clock of a
 * thread may stand still meanwhile: then nothing was measured.
 */
static equinv_status sample(const racer *t, double *seconds)
{
    enum { ATTEMPTS = 8 };
    problem *const p = t->problem;
    equinv_status status = EQUINV_OK;
    *seconds = 0;
    for (int attempt = 0; !status && *seconds <= 0 && attempt < ATTEMPTS; attempt++) {
        const double start = sample_seconds();
        for (int64_t i = 0; !status && i < t->calls; i++)
            status = t->copies ? call_with_copies(p) : p->runner->run(p);
        if (!status)
            status = problem_wait(p);
        *seconds = (sample_seconds() - start) / (double)t->calls;
    }
    return status;
}

/* On the CPU, without copies: calls that take turns with those of the others. */
static bool alternates(const racer *t)
{
    return !t->copies && !on_cuda(t->problem->ctx);
}

/*
 * A device is kept busy for about a millisecond a sample; the CPU alternates single calls, or some where
 * looking at the clock would count.
 */
static equinv_status warm_up(racer *t)
{
    double seconds = 0;
    equinv_status status = EQUINV_OK;
    t->calls = 1;
    for (int i = 0; !status && i < 2; i++)
        status = sample(t, &seconds);
    if (!status && !t->copies && on_cuda(t->problem->ctx)) {
        const double calls = ceil(1e-3 / fmax(seconds, 1e-7));
        t->calls = (int64_t)fmin(calls, MOST_CALLS);
    } else if (alternates(t) && seconds < SHORT_CALL) {
        t->calls = (int64_t)fmin(ceil(SHORT_SAMPLE / fmax(seconds, 1e-7)), MOST_CALLS);
    }
    return status;
}

/*
 * Where one of them takes several calls at a time the others do: next to a single call, with all that the others
 * have left in the caches and the look at the clock, it would seem fast.
 */
static void share_calls(racer *list, int count)
{
    int64_t most = 1;
    for (int i = 0; i < count; i++)
        if (alternates(&list[i]) && list[i].calls > most)
            most = list[i].calls;
    for (int i = 0; i < count; i++)
        if (alternates(&list[i]))
            list[i].calls = most;
}

static int ascending(const void *a, const void *b)
{
    const double x = *(const double *)a, y = *(const double *)b;
    return (x > y) - (x < y);
}

static double median_of(double *values, int count)
{
    qsort(values, (size_t)count, sizeof *values, ascending);
    return count % 2 ? values[count / 2] : (values[count / 2 - 1] + values[count / 2]) / 2;
}

/* Enough samples and time; slow cases end after four times the time with fewer samples. */
static bool enough(int samples, double elapsed, double budget)
{
    if (samples >= MOST_SAMPLES)
        return true;
    return samples >= LEAST_SAMPLES ? elapsed >= budget
                                    : samples >= FEWEST_SAMPLES && elapsed >= 4 * budget;
}

equinv_status time_all(racer *list, int count, double seconds, int *samples)
{
    equinv_status status = EQUINV_OK;
    double *const values = malloc((size_t)count * MOST_SAMPLES * sizeof *values);
    if (!values)
        return EQUINV_ERR_NOMEM;
    for (int i = 0; !status && i < count; i++)
        status = warm_up(&list[i]);
    share_calls(list, count);
    int done = 0;
    const double start = bench_seconds();
    while (!status && !enough(done, bench_seconds() - start, seconds * count)) {
        for (int i = 0; !status && i < count; i++)
            status = sample(&list[i], &values[i * MOST_SAMPLES + done]);
        done++;
    }
    for (int i = 0; !status && i < count; i++) {
        list[i].median = median_of(values + i * MOST_SAMPLES, done);
        list[i].best = values[i * MOST_SAMPLES]; /* median_of sorted them */
    }
    free(values);
    *samples = done;
    return status;
}
