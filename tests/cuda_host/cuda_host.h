/*
 * The stand-in for CUDA on the host: the same .cu files as plain C++17. cuda/platform.cuh includes
 * this file, and nothing else, where EQI_CUDA_ON_HOST is defined.
 *
 * A grid runs block by block, one coroutine a thread; every launch runs in several orders and must
 * give the same bits in each. Streams are queues that run when something synchronises, so a missing
 * wait shows as wrong data. Device memory is closed to host code. What is found wrong is said once
 * on stderr, with the kernel's name, and the process aborts: this is a test tool.
 *
 * Environment
 *     EQI_CUDA_HOST_ORDERS=1|2|3   orders for each launch: forward, backward, random (default 2)
 *     EQI_CUDA_HOST_DEVICES=0|1|2  number of devices (default 1)
 *     EQI_CUDA_HOST_OPEN=1         leave device memory open to host code
 */
#ifndef EQI_CUDA_HOST_H
#define EQI_CUDA_HOST_H

#include "tests/cuda_host/types.h"
#include "tests/cuda_host/intrinsics.h"
#include "tests/cuda_host/runtime.h"
#include "tests/cuda_host/kernel.h"
#include "tests/cuda_host/cublas_host.h"

#endif
