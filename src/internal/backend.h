/*
 * A backend: where the tensors of a context live and who computes on them. The CPU's is linked in
 * (cpu/backend.c), CUDA's is the plugin libequinv-cuda.so, which src/plugin.c loads. Arguments were
 * checked before; every function returns a status with a sentence, as the public ones do.
 */
#ifndef EQI_BACKEND_H
#define EQI_BACKEND_H

#include "group.h"
#include "node.h"
#include "optimizer.h"
#include "plan.h"

/* Streams of a device: a pipeline copies in and out beside the computation. */
typedef enum eqi_lane { EQI_LANE_COMPUTE, EQI_LANE_IN, EQI_LANE_OUT, EQI_LANES } eqi_lane;

/* Marks in a lane that other lanes and the host wait for. */
#define EQI_EVENTS 8

/* Memory and order of work. Only devices beside the CPU have these. */
typedef struct eqi_device_functions {
    /* Opens ctx->device and sets ctx->device_state; *text (255 bytes) names the device. NO_BACKEND. */
    equinv_status (*open)(equinv_context *ctx, char *text);
    void (*close)(equinv_context *ctx);
    /* NULL when there is none. Aligned to the backend's alignment. */
    void *(*alloc)(const equinv_context *ctx, size_t size);
    void (*free)(const equinv_context *ctx, void *ptr);
    /* CPU memory that the device copies fast; NULL when there is none. */
    void *(*alloc_pinned)(const equinv_context *ctx, size_t size);
    void (*free_pinned)(const equinv_context *ctx, void *ptr);
    /* Enqueued on a lane; copies go in any direction, and CPU memory must stay until they are done. */
    equinv_status (*zero)(const equinv_context *ctx, void *ptr, size_t size);
    equinv_status (*copy)(const equinv_context *ctx, eqi_lane lane, void *dst, const void *src,
                          size_t size);
    equinv_status (*record)(const equinv_context *ctx, int event, eqi_lane lane);
    equinv_status (*wait)(const equinv_context *ctx, eqi_lane lane, int event);
    equinv_status (*wait_here)(const equinv_context *ctx, int event); /* the calling thread waits */
    equinv_status (*synchronize)(const equinv_context *ctx); /* for all lanes; errors of the past */
    equinv_status (*set_stream)(equinv_context *ctx, void *stream); /* NULL: the context's own */
    /* Whether ptr is memory of ctx->device; DEVICE names the argument. */
    equinv_status (*check_memory)(const equinv_context *ctx, const void *ptr, const char *name);
} eqi_device_functions;

typedef struct eqi_backend {
    const char *name; /* "cpu", "cuda" */
    size_t alignment; /* of scratch, saved, packed and of what tensor_create gives */
    const eqi_device_functions *device; /* NULL: the tensors are in the caller's memory */

    /* Operations with plans: NULL-terminated lists, best first. */
    const eqi_implementation *const *conv,
        *const *batch_norm, *const *pool, *const *upsample, *const *dense,
                                                                *const *projection,
                                                                    *const *node_linear,
                                                                        *const *node_norm,
                                                                            *const *node_pool;

    /* The others; five-axis views where the header has feature maps. */
    equinv_status (*act)(const equinv_context *ctx, equinv_group group, int32_t element,
                         const equinv_tensor *src, const equinv_tensor *dst);
    equinv_status (*add)(const equinv_context *ctx, const equinv_tensor *a, const equinv_tensor *b,
                         const equinv_tensor *dst);
    equinv_status (*binary_cross_entropy)(const equinv_context *ctx, const equinv_tensor *logits,
                                          const equinv_tensor *labels, const equinv_tensor *mask,
                                          const equinv_tensor *loss,
                                          const equinv_tensor *diff_logits);
    /* norm NULL: not wanted; a device waits for it. */
    equinv_status (*clip_gradients)(const equinv_context *ctx, const equinv_parameter *parameters,
                                    size_t count, double max_norm, double *norm);
    /* Any strides and dtypes, same shape. */
    equinv_status (*convert)(const equinv_context *ctx, const equinv_tensor *src, double scale,
                             double shift, const equinv_tensor *dst);
    /* mask NULL: all are there. */
    equinv_status (*cross_entropy)(const equinv_context *ctx, const equinv_tensor *logits,
                                   const equinv_tensor *labels, const equinv_tensor *mask,
                                   const equinv_tensor *loss, const equinv_tensor *diff_logits);
    equinv_status (*dropout)(const equinv_context *ctx, double p, uint64_t seed, uint64_t step,
                             const equinv_tensor *src, const equinv_tensor *dst);
    equinv_status (*kl_gaussian)(const equinv_context *ctx, const equinv_tensor *mean,
                                 const equinv_tensor *log_variance, const equinv_tensor *mask,
                                 const equinv_tensor *loss, const equinv_tensor *diff_mean,
                                 const equinv_tensor *diff_log_variance);
    equinv_status (*mean_squared_error)(const equinv_context *ctx, const equinv_tensor *src,
                                        const equinv_tensor *target, const equinv_tensor *loss,
                                        const equinv_tensor *diff_src);
    equinv_status (*node_outer_forward)(const equinv_context *ctx, const eqi_node_outer_args *a);
    equinv_status (*node_outer_backward)(const equinv_context *ctx, const eqi_node_outer_args *a);
    equinv_status (*optimizer_step)(const equinv_context *ctx, const eqi_update *update,
                                    const eqi_parameter_state *state);
    equinv_status (*orbit_distance)(const equinv_context *ctx, equinv_group group,
                                    const equinv_tensor *x, const equinv_tensor *y,
                                    const equinv_tensor *distance, const equinv_tensor *element);
    equinv_status (*orbit_mean)(const equinv_context *ctx, equinv_group group,
                                const equinv_tensor *src, const equinv_tensor *dst);
    equinv_status (*relu_backward)(const equinv_context *ctx, double slope,
                                   const equinv_tensor *src, const equinv_tensor *diff_dst,
                                   const equinv_tensor *diff_src);
    equinv_status (*relu_forward)(const equinv_context *ctx, double slope, const equinv_tensor *src,
                                  const equinv_tensor *dst);
    equinv_status (*reparameterise_backward)(const equinv_context *ctx, uint64_t seed,
                                             uint64_t step, const equinv_tensor *log_variance,
                                             const equinv_tensor *diff_dst,
                                             const equinv_tensor *diff_log_variance);
    equinv_status (*reparameterise_forward)(const equinv_context *ctx, uint64_t seed, uint64_t step,
                                            const equinv_tensor *mean,
                                            const equinv_tensor *log_variance,
                                            const equinv_tensor *dst);
    /* The orbit distance of S: rows [A, n, 1] and [B, n, 1]. */
    equinv_status (*sorted_distance)(const equinv_context *ctx, const equinv_tensor *x,
                                     const equinv_tensor *y, const equinv_tensor *distance);
    equinv_status (*templates)(const equinv_context *ctx, equinv_template_kind kind, uint64_t seed,
                               uint64_t first, const equinv_tensor *dst);
} eqi_backend;

extern const eqi_backend eqi_cpu_backend;

#endif
