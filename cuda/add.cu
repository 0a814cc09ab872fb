#include "cuda/operations.cuh"

equinv_status eqi_cuda_add(const equinv_context *, const equinv_tensor *, const equinv_tensor *,
                           const equinv_tensor *)
{
    return eqi_fail(EQUINV_ERR_UNSUPPORTED, "add is not there on CUDA yet");
}
