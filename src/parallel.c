/*
 * The default parallel-for: pthreadpool where it was found, else threads started for each call.
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
     * Workers sleep between calls. Spinning saves some 20 us a call on idle cores, but where cores are
     * shared it burns the time slice that the call itself waits for: a training epoch beside other load
     * took 31-41 s and 15-18 s of CPU time with spinning, 13-20 s and 8 s without.
     */
    job j = {task, arg};
    pthreadpool_parallelize_1d((pthreadpool_t)pool, run_one, &j, (size_t)count,
                               PTHREADPOOL_FLAG_YIELD_WORKERS);
}

#else
#include <stdatomic.h>

const char eqi_pool_name[] = "plain threads";

struct eqi_pool {
    int32_t threads;
};

struct eqi_pool *eqi_pool_create(const equinv_context *ctx, int32_t threads)
{
    struct eqi_pool *const pool = eqi_alloc(ctx, sizeof *pool);
    if (pool)
        pool->threads = threads;
    return pool;
}

void eqi_pool_destroy(const equinv_context *ctx, struct eqi_pool *pool)
{
    eqi_free(ctx, pool, sizeof *pool);
}

typedef struct job {
    equinv_task task;
    void *arg;
    int64_t count;
    _Atomic int64_t next;
} job;

static void *work(void *arg)
{
    job *const j = arg;
    for (int64_t i; (i = atomic_fetch_add(&j->next, 1)) < j->count;)
        j->task(j->arg, i);
    return NULL;
}

void eqi_pool_run(struct eqi_pool *pool, int64_t count, equinv_task task, void *arg)
{
    enum { MAX_HELPERS = 63 };
    pthread_t helpers[MAX_HELPERS];
    job j = {task, arg, count, 0};
    int64_t wanted = pool->threads - 1 < count - 1 ? pool->threads - 1 : count - 1;
    if (wanted > MAX_HELPERS)
        wanted = MAX_HELPERS;
    int64_t started = 0;
    while (started < wanted && pthread_create(&helpers[started], NULL, work, &j) == 0)
        started++;
    work(&j); /* the caller works too: with no helper at all the job still gets done */
    while (started > 0)
        pthread_join(helpers[--started], NULL);
}
#endif
