/*
 * Every operation in the ways that callers run them: on a stream of their own, recorded in a CUDA graph
 * and replayed, on several streams and in several threads at once. All give the same bits.
 */
#include <pthread.h>

#include "tests/util/cuda_cases.h"

static const equinv_dtype dtypes[] = {EQUINV_F32, EQUINV_F64};

static cuda_case run_once(equinv_context *ctx, int operation, equinv_dtype dtype)
{
    const cuda_case c = cuda_case_new(ctx, operation, dtype, false);
    cuda_case_run(&c);
    return c;
}

/* Into a graph, which is the proof that nothing allocates or waits; then the graph once or twice. */
static void replay(const cuda_case *first, cuda_case *c, void *stream)
{
    const char *const name = c->operation->name;
    OK(equinv_context_set_stream(c->ctx, stream));
    capture_begin(stream);
    const equinv_status status = cuda_case_enqueue(c);
    void *const graph = capture_end(stream);
    ck_assert_msg(status == EQUINV_OK, "%s in a capture: %s", name, equinv_last_error());
    ck_assert_msg(graph != NULL, "%s spoils a capture", name);
    for (int i = 0; i < (c->operation->once ? 1 : 2); i++) {
        cuda_case_reset(c);
        graph_launch(graph, stream);
        OK(equinv_context_synchronize(c->ctx));
        cuda_case_assert_same(first, c);
    }
    OK(equinv_context_set_stream(c->ctx, NULL));
    graph_destroy(graph);
}

START_TEST(graphs)
{
    equinv_context *const ctx = cuda_context_new();
    void *const stream = stream_new(0);
    for (int i = 0; i < cuda_operation_count; i++) {
        cuda_case first = run_once(ctx, i, dtypes[_i]);
        cuda_case second = cuda_case_new(ctx, i, dtypes[_i], false);
        replay(&first, &second, stream);
        cuda_case_destroy(&second);
        cuda_case_destroy(&first);
    }
    equinv_context_destroy(ctx);
    stream_destroy(stream);
}
END_TEST

START_TEST(again_and_with_own_scratch)
{
    equinv_context *const ctx = cuda_context_new();
    for (int i = 0; i < cuda_operation_count; i++) {
        cuda_case first = run_once(ctx, i, dtypes[_i]);
        cuda_case second = cuda_case_new(ctx, i, dtypes[_i], true);
        for (int run = 0; run < (first.operation->once ? 1 : 2); run++) {
            cuda_case_reset(&second);
            cuda_case_run(&second);
            cuda_case_assert_same(&first, &second);
        }
        cuda_case_destroy(&second);
        cuda_case_destroy(&first);
    }
    equinv_context_destroy(ctx);
}
END_TEST

/* ---- several streams --------------------------------------------------------------------------- */

enum { LANES = 3, RUNS = 3 };

START_TEST(contexts_side_by_side)
{
    equinv_context *ctx[LANES];
    void *stream[LANES];
    for (int k = 0; k < LANES; k++) {
        ctx[k] = cuda_context_new();
        stream[k] = stream_new(0);
        OK(equinv_context_set_stream(ctx[k], k ? stream[k] : NULL)); /* one on its own stream */
    }
    for (int i = 0; i < cuda_operation_count; i++) {
        cuda_case c[LANES], first = run_once(ctx[0], i, EQUINV_F32);
        for (int k = 0; k < LANES; k++)
            c[k] = cuda_case_new(ctx[k], i, EQUINV_F32, false);
        for (int k = 0; k < LANES; k++)
            OK(cuda_case_enqueue(&c[k]));
        for (int k = LANES - 1; k >= 0; k--) {
            OK(equinv_context_synchronize(ctx[k]));
            cuda_case_assert_same(&first, &c[k]);
        }
        for (int k = 0; k < LANES; k++)
            cuda_case_destroy(&c[k]);
        cuda_case_destroy(&first);
    }
    for (int k = 0; k < LANES; k++) {
        equinv_context_destroy(ctx[k]);
        stream_synchronize(stream[k]); /* the caller's outlives the context */
        stream_destroy(stream[k]);
    }
}
END_TEST

typedef struct worker {
    pthread_t thread;
    cuda_case c;
    equinv_status status;
    char text[512];
} worker;

static void *work(void *arg)
{
    worker *const w = arg;
    for (int run = 0; run < RUNS && w->status == EQUINV_OK; run++)
        w->status = cuda_case_enqueue(&w->c);
    if (w->status == EQUINV_OK)
        w->status = equinv_context_synchronize(w->c.ctx);
    snprintf(w->text, sizeof w->text, "%s", equinv_last_error());
    return NULL;
}

/* One context; every thread has its own plan, tensors and scratch. */
START_TEST(threads_on_one_context)
{
    equinv_context *const ctx = cuda_context_new();
    for (int i = 0; i < cuda_operation_count; i++) {
        if (cuda_operations[i].once)
            continue;
        worker w[LANES] = {{0}};
        /* As often as the threads do: running statistics move with every run. */
        cuda_case alone = cuda_case_new(ctx, i, EQUINV_F32, true);
        for (int run = 0; run < RUNS; run++)
            cuda_case_run(&alone);
        for (int k = 0; k < LANES; k++)
            w[k].c = cuda_case_new(ctx, i, EQUINV_F32, true);
        for (int k = 0; k < LANES; k++)
            ck_assert_int_eq(pthread_create(&w[k].thread, NULL, work, &w[k]), 0);
        for (int k = 0; k < LANES; k++) {
            pthread_join(w[k].thread, NULL);
            ck_assert_msg(w[k].status == EQUINV_OK, "%s: %s", alone.operation->name, w[k].text);
            cuda_case_assert_same(&alone, &w[k].c);
            cuda_case_destroy(&w[k].c);
        }
        cuda_case_destroy(&alone);
    }
    equinv_context_destroy(ctx);
}
END_TEST

/* A capture that does allocate is noticed: the tests above can fail. */
START_TEST(captures_notice_allocation)
{
    equinv_context *const ctx = cuda_context_new();
    void *const stream = stream_new(0);
    const int64_t count = 64;
    equinv_tensor t = {0};
    OK(equinv_context_set_stream(ctx, stream));
    capture_begin(stream);
    const equinv_status status = equinv_tensor_create(ctx, EQUINV_F32, 1, &count, &t);
    ck_assert(status != EQUINV_OK);
    ck_assert_ptr_null(capture_end(stream));
    OK(equinv_tensor_create(ctx, EQUINV_F32, 1, &count, &t));
    OK(equinv_context_synchronize(ctx));
    equinv_tensor_destroy(ctx, &t);
    equinv_context_destroy(ctx);
    stream_destroy(stream);
}
END_TEST

int main(void)
{
    const test_entry tests[] = {
        {graphs, 2},
        {again_and_with_own_scratch, 2},
        {contexts_side_by_side, 1},
        {threads_on_one_context, 1},
        {captures_notice_allocation, 1},
    };
    return run_cuda_tests("cuda/graph", tests, sizeof tests / sizeof *tests);
}
