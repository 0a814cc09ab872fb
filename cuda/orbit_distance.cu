#include "cuda/operations.cuh"

equinv_status eqi_cuda_orbit_distance(const equinv_context *, equinv_group, const equinv_tensor *,
                                      const equinv_tensor *, const equinv_tensor *,
                                      const equinv_tensor *)
{
    return eqi_fail(EQUINV_ERR_UNSUPPORTED, "orbit_distance is not there on CUDA yet");
}

equinv_status eqi_cuda_sorted_distance(const equinv_context *, const equinv_tensor *,
                                       const equinv_tensor *, const equinv_tensor *)
{
    return eqi_fail(EQUINV_ERR_UNSUPPORTED, "sorted_distance is not there on CUDA yet");
}
