#include "cuda/operations.cuh"

equinv_status eqi_cuda_orbit_mean(const equinv_context *, equinv_group, const equinv_tensor *,
                                  const equinv_tensor *)
{
    return eqi_fail(EQUINV_ERR_UNSUPPORTED, "orbit_mean is not there on CUDA yet");
}
