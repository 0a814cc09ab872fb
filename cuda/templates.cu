#include "cuda/operations.cuh"

equinv_status eqi_cuda_templates(const equinv_context *, equinv_template_kind, uint64_t, uint64_t,
                                 const equinv_tensor *)
{
    return eqi_fail(EQUINV_ERR_UNSUPPORTED, "templates is not there on CUDA yet");
}
