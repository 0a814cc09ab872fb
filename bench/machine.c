/*
 * What this machine can do at best: multiply-adds of one core, and copies. The one file with
 * instructions above the base level in this program, each function behind a check at run time.
 */
#include <math.h>
#include <pthread.h>
#include <stdatomic.h>
#include <stdlib.h>
#include <string.h>
#if defined(__x86_64__)
#include <immintrin.h>
#endif

#include "bench/bench.h"

/* ---- multiply-adds -------------------------------------------------------------------------------- */

/* A loop's floating-point operations; x and y keep its values in range (x near 1, y near 0). */
typedef double peak_loop(int64_t rounds, float x, float y);
enum { CHAINS = 12 }; /* independent sums: latency times width of the cores there are */

static volatile float sink; /* so that the sums are needed */

/* Written out, so that every chain has its register. */
#define EACH_CHAIN(DO) DO(0) DO(1) DO(2) DO(3) DO(4) DO(5) DO(6) DO(7) DO(8) DO(9) DO(10) DO(11)
#define PEAK_BODY(type, lanes, set, fma, sum)                                                      \
    type chains[CHAINS];                                                                           \
    const type a = set(x), b = set(y);                                                             \
    for (int i = 0; i < CHAINS; i++)                                                               \
        chains[i] = set((float)i);                                                                 \
    for (int64_t r = 0; r < rounds; r++) {                                                         \
        EACH_CHAIN(fma)                                                                            \
    }                                                                                              \
    for (int i = 0; i < CHAINS; i++)                                                               \
        sink = sum(chains[i]);                                                                     \
    return 2.0 * (lanes)*CHAINS * (double)rounds

#if defined(__x86_64__)
#define STEP_512(i) chains[i] = _mm512_fmadd_ps(chains[i], a, b);
#define STEP_256(i) chains[i] = _mm256_fmadd_ps(chains[i], a, b);
#define STEP_128(i) chains[i] = _mm_add_ps(_mm_mul_ps(chains[i], a), b);

__attribute__((target("avx512f"))) static double peak_avx512(int64_t rounds, float x, float y)
{
    PEAK_BODY(__m512, 16, _mm512_set1_ps, STEP_512, _mm512_cvtss_f32);
}

__attribute__((target("avx2,fma"))) static double peak_avx2(int64_t rounds, float x, float y)
{
    PEAK_BODY(__m256, 8, _mm256_set1_ps, STEP_256, _mm256_cvtss_f32);
}

static double peak_base(int64_t rounds, float x, float y)
{
    PEAK_BODY(__m128, 4, _mm_set1_ps, STEP_128, _mm_cvtss_f32);
}

static peak_loop *choose_loop(const char **isa)
{
    __builtin_cpu_init();
    if (__builtin_cpu_supports("avx512f")) {
        *isa = "avx512";
        return peak_avx512;
    }
    if (__builtin_cpu_supports("avx2") && __builtin_cpu_supports("fma")) {
        *isa = "avx2";
        return peak_avx2;
    }
    *isa = "sse2";
    return peak_base;
}
#else
#define STEP(i) chains[i] = chains[i] * a + b;

static float itself(float x)
{
    return x;
}

static double peak_base(int64_t rounds, float x, float y)
{
    PEAK_BODY(float, 1, itself, STEP, itself);
}

static peak_loop *choose_loop(const char **isa)
{
    *isa = "scalar";
    return peak_base;
}
#endif

enum { ROUNDS = 50000, TRIALS = 800 }; /* short ones find a moment without neighbours */

double machine_fma_peak(const char **isa)
{
    peak_loop *const loop = choose_loop(isa);
    double best = 0;
    for (int i = 0; i < 20; i++) /* until the core has its speed */
        loop(ROUNDS, 0.999f, 1e-3f);
    for (int i = 0; i < TRIALS; i++) {
        const double start = bench_seconds(), operations = loop(ROUNDS, 0.999f, 1e-3f);
        best = fmax(best, operations / (bench_seconds() - start));
    }
    return best * 1e-9;
}

/* ---- several threads ------------------------------------------------------------------------------- */

typedef struct together {
    int32_t threads;
    _Atomic bool cancelled;
    _Atomic int32_t ready[TRIALS]; /* threads that wait for this trial to begin */
    peak_loop *loop;
} together;

typedef struct runner {
    pthread_t thread;
    together *all;
    double start[TRIALS], end[TRIALS], operations;
} runner;

/* They look and neither sleep nor yield, so that the system gives each a core and they begin at once. */
static void *run_loops(void *arg)
{
    runner *const r = arg;
    for (int i = 0; i < TRIALS; i++) {
        r->all->ready[i]++;
        while (r->all->ready[i] < r->all->threads && !r->all->cancelled)
            ;
        r->start[i] = bench_seconds();
        r->operations = r->all->loop(ROUNDS, 0.999f, 1e-3f);
        r->end[i] = bench_seconds();
    }
    return NULL;
}

/* What all did between the first start and the last end. */
static double best_together(const runner *list, int32_t count)
{
    double best = 0;
    for (int i = 0; i < TRIALS; i++) {
        double start = list[0].start[i], end = list[0].end[i], operations = 0;
        for (int32_t t = 0; t < count; t++) {
            start = fmin(start, list[t].start[i]);
            end = fmax(end, list[t].end[i]);
            operations += list[t].operations;
        }
        best = fmax(best, operations / (end - start));
    }
    return best * 1e-9;
}

double machine_fma_peak_together(int32_t threads)
{
    const char *isa;
    together *const all = calloc(1, sizeof *all);
    runner *const list = calloc((size_t)threads, sizeof *list);
    double best = (double)NAN;
    int32_t started = 0;
    if (all && list) {
        all->loop = choose_loop(&isa);
        all->threads = threads;
        for (; started < threads; started++) {
            list[started].all = all;
            if (pthread_create(&list[started].thread, NULL, run_loops, &list[started]))
                break;
        }
        all->cancelled = started < threads;
        for (int32_t t = 0; t < started; t++)
            pthread_join(list[t].thread, NULL);
        if (started == threads)
            best = best_together(list, threads);
    }
    free(list);
    free(all);
    return best;
}

/* ---- memory --------------------------------------------------------------------------------------- */

/* Of pieces of two buffers beyond the caches; the best one had no neighbours. */
double machine_copy_bandwidth(void)
{
    enum { ROUNDS_OF_ALL = 4 };
    const size_t size = (size_t)128 << 20, piece = (size_t)4 << 20;
    char *const a = malloc(size), *const b = malloc(size);
    double best = (double)INFINITY;
    if (a && b) {
        memset(a, 1, size), memset(b, 2, size);
        for (size_t i = 0; i < ROUNDS_OF_ALL * (size / piece); i++) {
            const size_t at = i * piece % size;
            const double start = bench_seconds();
            memcpy(b + at, a + at, piece);
            __asm__ volatile("" : : "r"(a), "r"(b) : "memory"); /* the copy is needed */
            best = fmin(best, bench_seconds() - start);
        }
    }
    free(a), free(b);
    return isfinite(best) ? 2e-9 * (double)piece / best : (double)NAN;
}

const char *machine_cpu(char *text, size_t size)
{
    char line[256];
    FILE *const file = fopen("/proc/cpuinfo", "r");
    snprintf(text, size, "unknown CPU");
    while (file && fgets(line, sizeof line, file)) {
        const char *const colon = strchr(line, ':');
        if (strncmp(line, "model name", 10) == 0 && colon) {
            snprintf(text, size, "%s", colon + 1 + strspn(colon + 1, " "));
            text[strcspn(text, "\n")] = '\0';
            break;
        }
    }
    if (file)
        fclose(file);
    return text;
}
