#include "cuda/operations.cuh"

equinv_status eqi_cuda_dropout(const equinv_context *, double, uint64_t, uint64_t,
                               const equinv_tensor *, const equinv_tensor *)
{
    return eqi_fail(EQUINV_ERR_UNSUPPORTED, "dropout is not there on CUDA yet");
}
