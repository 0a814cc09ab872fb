/* Sums and the like over the threads of a block, always in the same order. */
#ifndef EQI_CUDA_REDUCE_CUH
#define EQI_CUDA_REDUCE_CUH

#include "cuda/device.cuh"

/*
 * Teams in a block: the threads whose numbers have the same remainder by `teams`. Both the number of
 * threads and of teams are powers of two; all threads of the block call this. `shared` has room for
 * one R a thread; every thread gets what its team has together, joined by R::add.
 */
template <typename R> __device__ __forceinline__ R eqi_join_teams(R mine, R *shared, unsigned teams)
{
    const unsigned thread = threadIdx.x;
    shared[thread] = mine;
    __syncthreads();
    for (unsigned step = blockDim.x / 2; step >= teams; step /= 2) {
        if (thread < step)
            shared[thread].add(shared[thread + step]);
        __syncthreads();
    }
    const R all = shared[thread % teams];
    __syncthreads(); /* shared may be used again */
    return all;
}

struct eqi_sum {
    double value;

    __device__ __forceinline__ void add(const eqi_sum &other)
    {
        value += other.value;
    }
};

__device__ __forceinline__ double eqi_sum_teams(double mine, eqi_sum *shared, unsigned teams)
{
    return eqi_join_teams(eqi_sum{mine}, shared, teams).value;
}

/* The smallest power of two that is at least `count`, within low .. high (powers of two). */
static inline unsigned eqi_power_of_two(int64_t count, unsigned low, unsigned high)
{
    unsigned power = low;
    while (power < high && power < count)
        power *= 2;
    return power;
}

#endif
