/* The plugin's table and its one exported symbol. */
#include "cuda/operations.cuh"
#include "cuda/services.cuh"

static const eqi_backend cuda_backend = {
    .name = "cuda",
    .alignment = EQI_CUDA_ALIGNMENT,
    .device = &eqi_cuda_device_functions,
    .conv = eqi_cuda_conv_list,
    .batch_norm = eqi_cuda_batch_norm_list,
    .pool = eqi_cuda_pool_list,
    .upsample = eqi_cuda_upsample_list,
    .dense = eqi_cuda_dense_list,
    .projection = eqi_cuda_projection_list,
    .node_linear = eqi_cuda_node_linear_list,
    .node_norm = eqi_cuda_node_norm_list,
    .node_pool = eqi_cuda_node_pool_list,
    .act = eqi_cuda_act,
    .add = eqi_cuda_add,
    .binary_cross_entropy = eqi_cuda_binary_cross_entropy,
    .clip_gradients = eqi_cuda_clip_gradients,
    .convert = eqi_cuda_convert,
    .cross_entropy = eqi_cuda_cross_entropy,
    .dropout = eqi_cuda_dropout,
    .kl_gaussian = eqi_cuda_kl_gaussian,
    .mean_squared_error = eqi_cuda_mean_squared_error,
    .node_outer_forward = eqi_cuda_node_outer_forward,
    .node_outer_backward = eqi_cuda_node_outer_backward,
    .optimizer_step = eqi_cuda_optimizer_step,
    .orbit_distance = eqi_cuda_orbit_distance,
    .orbit_mean = eqi_cuda_orbit_mean,
    .relu_backward = eqi_cuda_relu_backward,
    .relu_forward = eqi_cuda_relu_forward,
    .reparameterise_backward = eqi_cuda_reparameterise_backward,
    .reparameterise_forward = eqi_cuda_reparameterise_forward,
    .sorted_distance = eqi_cuda_sorted_distance,
    .templates = eqi_cuda_templates,
};

extern "C" EQUINV_API const eqi_plugin *equinv_backend_cuda_1(const eqi_services *services)
{
    static const eqi_plugin plugin = {
        EQI_PLUGIN_ABI,
        sizeof(eqi_backend),
        sizeof(equinv_context),
        &cuda_backend,
    };
    eqi_set_services(services);
    return &plugin;
}
