#include "cuda/operations.cuh"

equinv_status eqi_cuda_convert(const equinv_context *, const equinv_tensor *, double, double,
                               const equinv_tensor *)
{
    return eqi_fail(EQUINV_ERR_UNSUPPORTED, "convert is not there on CUDA yet");
}
