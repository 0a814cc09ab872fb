/*
 * The default parallel-for: pthreadpool where it was found, else a small pool of its own.
 * A pool may be used from several threads at once; their calls then run one after the other.
 */
#include "internal/context.h"

void eqi_parallel_for(const equinv_context *ctx, int64_t count, equinv_task task, void *arg)
{
    if (ctx->hardware.threads > 1 && count > 1) {
        if (ctx->parallel_for)
            ctx->parallel_for(ctx->parallel_user, count, task, arg);
        else
            eqi_pool_run(ctx->pool, count, task, arg);
        return;
    }
    for (int64_t i = 0; i < count; i++)
        task(arg, i);
}

#ifdef EQI_HAVE_PTHREADPOOL
#include <pthreadpool.h>

const char eqi_pool_name[] = "pthreadpool";

struct eqi_pool *eqi_pool_create(const equinv_context *ctx, int32_t threads)
{
    (void)ctx;
    return (struct eqi_pool *)pthreadpool_create((size_t)threads);
}

void eqi_pool_destroy(const equinv_context *ctx, struct eqi_pool *pool)
{
    (void)ctx;
    pthreadpool_destroy((pthreadpool_t)pool);
}

typedef struct job {
    equinv_task task;
    void *arg;
} job;

static void run_one(void *arg, size_t index)
{
    const job *const j = arg;
    j->task(j->arg, (int64_t)index);
}

void eqi_pool_run(struct eqi_pool *pool, int64_t count, equinv_task task, void *arg)
{
    /*
     * Workers sleep between calls. Spinning may answer sooner on idle cores, but where cores are shared
     * it burns the time slice that the call itself waits for: a training epoch beside other load
     * took 31-41 s and 15-18 s of CPU time with spinning, 13-20 s and 8 s without.
     */
    job j = {task, arg};
    pthreadpool_parallelize_1d((pthreadpool_t)pool, run_one, &j, (size_t)count,
                               PTHREADPOOL_FLAG_YIELD_WORKERS);
}

#else
#include <signal.h>
#include <stdatomic.h>

const char eqi_pool_name[] = "own threads";

/* Looks at what it waits for before a thread sleeps: about as long as waking it would take. */
enum { LOOKS = 1000 };

typedef struct job {
    equinv_task task;
    void *arg;
    int64_t count;
    _Atomic int64_t next;
    _Atomic int32_t workers; /* at work on it */
} job;

/*
 * A job is open while `job` names it. Workers enter it when they get to run; the call closes it when
 * no task is left and waits for those inside alone. A worker that the system kept waiting is not
 * waited for: it finds the job closed. So a call beside other load is no slower than one thread.
 */
struct eqi_pool {
    size_t size;             /* of this, for its release */
    pthread_mutex_t callers; /* held by the call that uses the pool */
    pthread_mutex_t mutex;
    pthread_cond_t wake, done;
    bool stop;
    int32_t sleeping;
    job *job;
    _Atomic uint64_t jobs; /* so far */
    int32_t threads;
    pthread_t thread[];
};

static void relax(void)
{
#if defined(__x86_64__) || defined(__i386__)
    __builtin_ia32_pause();
#endif
}

static void run_tasks(job *j)
{
    for (int64_t i; (i = atomic_fetch_add(&j->next, 1)) < j->count;)
        j->task(j->arg, i);
}

/* Waits for another job than number `seen`; false: the pool stops. The mutex is held. */
static bool wait_for_job(struct eqi_pool *pool, uint64_t seen)
{
    if (!pool->stop && pool->jobs == seen) {
        pthread_mutex_unlock(&pool->mutex);
        for (int i = 0; i < LOOKS && pool->jobs == seen; i++)
            relax();
        pthread_mutex_lock(&pool->mutex);
    }
    while (!pool->stop && pool->jobs == seen) {
        pool->sleeping++;
        pthread_cond_wait(&pool->wake, &pool->mutex);
        pool->sleeping--;
    }
    return !pool->stop;
}

static void *work(void *arg)
{
    struct eqi_pool *const pool = arg;
    pthread_mutex_lock(&pool->mutex);
    for (uint64_t seen = 0; wait_for_job(pool, seen);) {
        job *const j = pool->job;
        seen = pool->jobs;
        if (!j)
            continue;
        j->workers++;
        pthread_mutex_unlock(&pool->mutex);
        run_tasks(j);
        pthread_mutex_lock(&pool->mutex);
        if (--j->workers == 0)
            pthread_cond_signal(&pool->done);
    }
    pthread_mutex_unlock(&pool->mutex);
    return NULL;
}

/* With fewer threads than asked for, if the system has no more: the caller works too. */
struct eqi_pool *eqi_pool_create(const equinv_context *ctx, int32_t threads)
{
    const size_t size = sizeof(struct eqi_pool) + (size_t)threads * sizeof(pthread_t);
    struct eqi_pool *const pool = eqi_alloc(ctx, size);
    if (!pool)
        return NULL;
    *pool = (struct eqi_pool){.size = size};
    pthread_mutex_init(&pool->callers, NULL);
    pthread_mutex_init(&pool->mutex, NULL);
    pthread_cond_init(&pool->wake, NULL);
    pthread_cond_init(&pool->done, NULL);
    /* Signals are for the program's own threads. */
    sigset_t all, before;
    sigfillset(&all);
    pthread_sigmask(SIG_SETMASK, &all, &before);
    while (pool->threads < threads - 1 &&
           pthread_create(&pool->thread[pool->threads], NULL, work, pool) == 0)
        pool->threads++;
    pthread_sigmask(SIG_SETMASK, &before, NULL);
    return pool;
}

void eqi_pool_destroy(const equinv_context *ctx, struct eqi_pool *pool)
{
    pthread_mutex_lock(&pool->mutex);
    pool->stop = true;
    pthread_cond_broadcast(&pool->wake);
    pthread_mutex_unlock(&pool->mutex);
    for (int32_t i = 0; i < pool->threads; i++)
        pthread_join(pool->thread[i], NULL);
    pthread_cond_destroy(&pool->done);
    pthread_cond_destroy(&pool->wake);
    pthread_mutex_destroy(&pool->mutex);
    pthread_mutex_destroy(&pool->callers);
    eqi_free(ctx, pool, pool->size);
}

static void close_job(struct eqi_pool *pool, job *j)
{
    pthread_mutex_lock(&pool->mutex);
    pool->job = NULL;
    pthread_mutex_unlock(&pool->mutex);
    for (int i = 0; i < LOOKS && j->workers > 0; i++)
        relax();
    pthread_mutex_lock(&pool->mutex); /* which the last worker holds until it is done with j */
    while (j->workers > 0)
        pthread_cond_wait(&pool->done, &pool->mutex);
    pthread_mutex_unlock(&pool->mutex);
}

void eqi_pool_run(struct eqi_pool *pool, int64_t count, equinv_task task, void *arg)
{
    job j = {task, arg, count, 0, 0};
    pthread_mutex_lock(&pool->callers);
    pthread_mutex_lock(&pool->mutex);
    pool->job = &j;
    pool->jobs++;
    if (pool->sleeping > 0)
        pthread_cond_broadcast(&pool->wake);
    pthread_mutex_unlock(&pool->mutex);
    run_tasks(&j);
    close_job(pool, &j);
    pthread_mutex_unlock(&pool->callers);
}
#endif
