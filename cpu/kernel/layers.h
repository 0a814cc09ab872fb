/* Batch normalisation, pooling and resampling in fp32, compiled for every level; cpu/layers.c chooses. */
#ifndef EQI_LAYERS_H
#define EQI_LAYERS_H

#include "internal/batch_norm.h"
#include "internal/pool.h"
#include "internal/resample.h"

typedef struct eqi_batch_norm_kernels {
    eqi_batch_norm_execute *forward_train, *forward_eval, *backward_train, *backward_eval;
} eqi_batch_norm_kernels;

typedef struct eqi_pool_kernels {
    equinv_status (*forward)(const equinv_context *ctx, const eqi_pool_problem *p,
                             const equinv_tensor *src, const equinv_tensor *dst, int32_t *saved);
    equinv_status (*backward)(const equinv_context *ctx, const eqi_pool_problem *p,
                              const equinv_tensor *diff_dst, const int32_t *saved,
                              const equinv_tensor *diff_src);
} eqi_pool_kernels;

typedef bool eqi_resample_kernel(const equinv_context *ctx, const eqi_stencil stencil[2],
                                 const equinv_tensor *from, const equinv_tensor *to,
                                 bool accumulate);

extern const eqi_batch_norm_kernels eqi_batch_norm_scalar;
extern const eqi_pool_kernels eqi_pool_scalar;
extern eqi_resample_kernel *const eqi_resample_scalar;
#if defined(__x86_64__)
extern const eqi_batch_norm_kernels eqi_batch_norm_avx2, eqi_batch_norm_avx512;
extern const eqi_pool_kernels eqi_pool_avx2, eqi_pool_avx512;
extern eqi_resample_kernel *const eqi_resample_avx2, *const eqi_resample_avx512;
#endif

#endif
