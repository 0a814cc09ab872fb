#include "cuda/operations.cuh"

equinv_status eqi_cuda_mean_squared_error(const equinv_context *, const equinv_tensor *,
                                          const equinv_tensor *, const equinv_tensor *,
                                          const equinv_tensor *)
{
    return eqi_fail(EQUINV_ERR_UNSUPPORTED, "mean_squared_error is not there on CUDA yet");
}
