#include "cuda/operations.cuh"

equinv_status eqi_cuda_act(const equinv_context *, equinv_group, int32_t, const equinv_tensor *,
                           const equinv_tensor *)
{
    return eqi_fail(EQUINV_ERR_UNSUPPORTED, "act is not there on CUDA yet");
}
