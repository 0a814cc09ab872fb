#include <errno.h>
#include <fcntl.h>
#include <math.h>
#include <signal.h>
#include <sys/stat.h>
#include <time.h>
#include <unistd.h>

#include "tools/tool.h"

static volatile sig_atomic_t interrupted;

/*
 * The library rightly goes on reading when a signal comes, so a pipe that stalls would hold the
 * program: the ends of pipes and terminals that it reads become empty instead. Async-signal-safe.
 */
static void end_stalled_inputs(void)
{
    const int nothing = open("/dev/null", O_RDONLY);
    for (int fd = 3; nothing >= 0 && fd < 256; fd++) {
        struct stat is;
        const int mode = fcntl(fd, F_GETFL);
        if (fd != nothing && mode >= 0 && (mode & O_ACCMODE) == O_RDONLY && fstat(fd, &is) == 0 &&
            (S_ISFIFO(is.st_mode) || S_ISSOCK(is.st_mode) || S_ISCHR(is.st_mode)))
            dup2(nothing, fd);
    }
}

/* Whoever still waits after two seconds (a pipe that nobody opens or drains) is stopped at once. */
static void note_signal(int number)
{
    static struct timespec first;
    const int error = errno;
    struct timespec now;
    (void)number;
    clock_gettime(CLOCK_MONOTONIC, &now);
    if (!interrupted) {
        first = now;
        interrupted = 1;
        end_stalled_inputs();
    } else if (now.tv_sec - first.tv_sec > 2) {
        _exit(TOOL_INTERRUPTED);
    }
    errno = error;
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

/* "1200 of 5000 rows (24 %), 1.2k rows/s, 3 s left"; without a unit only share and time. */
static void show(int64_t done, int64_t total, double elapsed)
{
    const double rate = elapsed > 0 ? (double)done / elapsed : 0;
    const bool steady = rate > 0 && elapsed >= 0.5;
    char left[32], speed[48];
    fputc('\r', stderr);
    if (watched.unit) {
        fprintf(stderr, "%" PRId64, done);
        if (total >= 0)
            fprintf(stderr, " of %" PRId64, total);
        fprintf(stderr, " %s ", watched.unit);
    }
    if (total > 0)
        fprintf(stderr, "(%.0f %%)", 100.0 * (double)done / (double)total);
    if (steady && watched.unit)
        fprintf(stderr, ", %s", per_second(rate, speed, sizeof speed));
    if (steady && total >= done)
        fprintf(stderr, ", %s left", duration((double)(total - done) / rate, left, sizeof left));
    fputs("\033[K", stderr); /* what an earlier, longer line left */
    fflush(stderr);
}

int progress_step(void *user, int64_t done, int64_t total)
{
    const double now = tool_seconds();
    (void)user;
    watched.done = done;
    if (watched.terminal && now - watched.last >= 0.1) {
        watched.last = now;
        watched.shown = true;
        show(done, total, now - watched.start);
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
