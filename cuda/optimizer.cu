#include "cuda/operations.cuh"

equinv_status eqi_cuda_optimizer_step(const equinv_context *, const eqi_update *,
                                      const eqi_parameter_state *)
{
    return eqi_fail(EQUINV_ERR_UNSUPPORTED, "optimizer_step is not there on CUDA yet");
}
