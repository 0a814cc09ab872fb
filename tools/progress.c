#include <math.h>
#include <signal.h>
#include <time.h>
#include <unistd.h>

#include "tools/tool.h"

static volatile sig_atomic_t interrupted;

static void note_signal(int number)
{
    (void)number;
    interrupted = 1;
}

void tool_catch_signals(void)
{
    const int signals[] = {SIGINT, SIGTERM, SIGHUP};
    for (size_t i = 0; i < sizeof signals / sizeof *signals; i++) {
        struct sigaction before, action = {.sa_handler = note_signal};
        sigemptyset(&action.sa_mask);
        /* What is ignored stays ignored (nohup, background jobs of plain shells). */
        if (sigaction(signals[i], NULL, &before) == 0 && before.sa_handler != SIG_IGN)
            sigaction(signals[i], &action, NULL);
    }
}

bool tool_interrupted(void)
{
    return interrupted != 0;
}

double tool_seconds(void)
{
    struct timespec now;
    clock_gettime(CLOCK_MONOTONIC, &now);
    return (double)now.tv_sec + 1e-9 * (double)now.tv_nsec;
}

/* One call is watched at a time. */
static struct {
    const char *unit;
    bool terminal, shown;
    double start, last;
    int64_t done;
} watched;

/* "1.2 s", "3 min 20 s", "2 h 5 min" */
static const char *duration(double seconds, char *text, size_t size)
{
    const long whole = seconds < 1e9 ? lround(seconds) : 1000000000;
    if (seconds < 10)
        snprintf(text, size, "%.1f s", seconds);
    else if (whole < 60)
        snprintf(text, size, "%ld s", whole);
    else if (whole < 3600)
        snprintf(text, size, "%ld min %ld s", whole / 60, whole % 60);
    else
        snprintf(text, size, "%ld h %ld min", whole / 3600, whole / 60 % 60);
    return text;
}

static const char *per_second(double rate, char *text, size_t size)
{
    const char *const format = rate >= 1e6   ? "%.3gM %s/s"
                               : rate >= 1e3 ? "%.3gk %s/s"
                                             : "%.3g %s/s";
    snprintf(text, size, format,
             rate >= 1e6   ? rate / 1e6
             : rate >= 1e3 ? rate / 1e3
                           : rate,
             watched.unit);
    return text;
}

void progress_start(const char *unit)
{
    watched.unit = unit;
    watched.terminal = isatty(STDERR_FILENO);
    watched.shown = false;
    watched.start = tool_seconds();
    watched.last = 0;
    watched.done = 0;
}

int progress_step(void *user, int64_t done, int64_t total)
{
    (void)user;
    watched.done = done;
    const double now = tool_seconds();
    if (watched.terminal && now - watched.last >= 0.1) {
        const double elapsed = now - watched.start;
        const double rate = elapsed > 0 ? (double)done / elapsed : 0;
        char left[32], speed[48];
        watched.last = now;
        watched.shown = true;
        fprintf(stderr, "\r%" PRId64, done);
        if (total >= 0)
            fprintf(stderr, " of %" PRId64, total);
        fprintf(stderr, " %s", watched.unit);
        if (total > 0)
            fprintf(stderr, " (%.0f %%)", 100.0 * (double)done / (double)total);
        if (rate > 0 && elapsed >= 0.5) {
            fprintf(stderr, ", %s", per_second(rate, speed, sizeof speed));
            if (total >= done)
                fprintf(stderr, ", %s left",
                        duration((double)(total - done) / rate, left, sizeof left));
        }
        fputs("\033[K", stderr);
        fflush(stderr);
    }
    return tool_interrupted();
}

void progress_clear(void)
{
    if (watched.shown)
        fputs("\r\033[K", stderr);
    watched.shown = false;
}

void progress_end(void)
{
    progress_clear();
    if (watched.terminal) {
        const double elapsed = tool_seconds() - watched.start;
        char took[32], speed[48];
        fprintf(stderr, "%" PRId64 " %s in %s", watched.done, watched.unit,
                duration(elapsed, took, sizeof took));
        if (watched.done > 0 && elapsed > 0)
            fprintf(stderr, ", %s",
                    per_second((double)watched.done / elapsed, speed, sizeof speed));
        fputc('\n', stderr);
    }
}
