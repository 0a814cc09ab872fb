/*
 * Stand-ins for the libraries that the benchmark's peers open: the calls that it makes, with plain loops over
 * CPU memory, which is what the host's plugin calls device memory. They refuse what a caller could get wrong
 * without a wrong result: a call without the stream, another math than fp32, a workspace that is too small,
 * work that nobody waited for (it is done when the stream is waited for).
 */
#ifndef TESTS_FAKE_GPU_FAKE_H
#define TESTS_FAKE_GPU_FAKE_H

#include <cuda.h>
#include <stdlib.h>

#define EXPORT __attribute__((visibility("default")))

/* Work of a stream: run and freed by cuStreamSynchronize. */
typedef struct fake_work {
    void (*run)(const void *arguments);
    void *arguments;
    struct fake_work *next;
} fake_work;

struct CUstream_st {
    fake_work *first, *last;
};

/* Takes the arguments, which came from malloc. */
static inline void fake_enqueue(CUstream stream, void (*run)(const void *), void *arguments)
{
    fake_work *const work = malloc(sizeof *work);
    if (!work || !arguments)
        abort();
    *work = (fake_work){run, arguments, NULL};
    if (stream->last)
        stream->last->next = work;
    else
        stream->first = work;
    stream->last = work;
}

#endif
