/* Every operation of this backend; what each does is said in internal/backend.h and the public header. */
#ifndef EQI_CUDA_OPERATIONS_CUH
#define EQI_CUDA_OPERATIONS_CUH

#include "cuda/device.cuh"

extern const eqi_device_functions eqi_cuda_device_functions;

extern const eqi_implementation *const eqi_cuda_conv_list[];
extern const eqi_implementation *const eqi_cuda_batch_norm_list[];
extern const eqi_implementation *const eqi_cuda_pool_list[];
extern const eqi_implementation *const eqi_cuda_upsample_list[];
extern const eqi_implementation *const eqi_cuda_dense_list[];
extern const eqi_implementation *const eqi_cuda_projection_list[];
extern const eqi_implementation *const eqi_cuda_node_linear_list[];
extern const eqi_implementation *const eqi_cuda_node_norm_list[];
extern const eqi_implementation *const eqi_cuda_node_pool_list[];

equinv_status eqi_cuda_act(const equinv_context *ctx, equinv_group group, int32_t element,
                           const equinv_tensor *src, const equinv_tensor *dst);
equinv_status eqi_cuda_add(const equinv_context *ctx, const equinv_tensor *a,
                           const equinv_tensor *b, const equinv_tensor *dst);
equinv_status eqi_cuda_binary_cross_entropy(const equinv_context *ctx, const equinv_tensor *logits,
                                            const equinv_tensor *labels, const equinv_tensor *mask,
                                            const equinv_tensor *loss,
                                            const equinv_tensor *diff_logits);
equinv_status eqi_cuda_clip_gradients(const equinv_context *ctx, const equinv_parameter *parameters,
                                      size_t count, double max_norm, double *norm);
equinv_status eqi_cuda_convert(const equinv_context *ctx, const equinv_tensor *src, double scale,
                               double shift, const equinv_tensor *dst);
equinv_status eqi_cuda_cross_entropy(const equinv_context *ctx, const equinv_tensor *logits,
                                     const equinv_tensor *labels, const equinv_tensor *mask,
                                     const equinv_tensor *loss, const equinv_tensor *diff_logits);
equinv_status eqi_cuda_dropout(const equinv_context *ctx, double p, uint64_t seed, uint64_t step,
                               const equinv_tensor *src, const equinv_tensor *dst);
equinv_status eqi_cuda_kl_gaussian(const equinv_context *ctx, const equinv_tensor *mean,
                                   const equinv_tensor *log_variance, const equinv_tensor *mask,
                                   const equinv_tensor *loss, const equinv_tensor *diff_mean,
                                   const equinv_tensor *diff_log_variance);
equinv_status eqi_cuda_mean_squared_error(const equinv_context *ctx, const equinv_tensor *src,
                                          const equinv_tensor *target, const equinv_tensor *loss,
                                          const equinv_tensor *diff_src);
equinv_status eqi_cuda_node_outer_forward(const equinv_context *ctx, const eqi_node_outer_args *a);
equinv_status eqi_cuda_node_outer_backward(const equinv_context *ctx, const eqi_node_outer_args *a);
equinv_status eqi_cuda_optimizer_step(const equinv_context *ctx, const eqi_update *update,
                                      const eqi_parameter_state *state);
equinv_status eqi_cuda_orbit_distance(const equinv_context *ctx, equinv_group group,
                                      const equinv_tensor *x, const equinv_tensor *y,
                                      const equinv_tensor *distance, const equinv_tensor *element);
equinv_status eqi_cuda_orbit_mean(const equinv_context *ctx, equinv_group group,
                                  const equinv_tensor *src, const equinv_tensor *dst);
equinv_status eqi_cuda_relu_backward(const equinv_context *ctx, double slope,
                                     const equinv_tensor *src, const equinv_tensor *diff_dst,
                                     const equinv_tensor *diff_src);
equinv_status eqi_cuda_relu_forward(const equinv_context *ctx, double slope,
                                    const equinv_tensor *src, const equinv_tensor *dst);
equinv_status eqi_cuda_reparameterise_backward(const equinv_context *ctx, uint64_t seed,
                                               uint64_t step, const equinv_tensor *log_variance,
                                               const equinv_tensor *diff_dst,
                                               const equinv_tensor *diff_log_variance);
equinv_status eqi_cuda_reparameterise_forward(const equinv_context *ctx, uint64_t seed,
                                              uint64_t step, const equinv_tensor *mean,
                                              const equinv_tensor *log_variance,
                                              const equinv_tensor *dst);
equinv_status eqi_cuda_sorted_distance(const equinv_context *ctx, const equinv_tensor *x,
                                       const equinv_tensor *y, const equinv_tensor *distance);
equinv_status eqi_cuda_templates(const equinv_context *ctx, equinv_template_kind kind,
                                 uint64_t seed, uint64_t first, const equinv_tensor *dst);

#endif
