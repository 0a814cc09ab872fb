#include "cpu/ref/ref.h"
#include "internal/conv.h"

/* ---- ref: the packed form is psi itself, row-major ----------------------------------------------- */

static size_t ref_table_size(const eqi_conv_problem *problem, const eqi_hardware *hardware)
{
    (void)problem;
    (void)hardware;
    return 0;
}

static equinv_tensor row_major_psi(const eqi_conv_problem *p, const void *data)
{
    const int64_t k = p->desc.kernel;
    equinv_tensor psi = {.data = (void *)data,
                         .dtype = p->desc.dtype,
                         .ndim = 5,
                         .shape = {p->desc.fields_out, p->in_per_group, p->filter_elements, k, k},
                         .strides = {0, 0, k * k, k, 1}};
    psi.strides[1] = psi.shape[2] * psi.strides[2];
    psi.strides[0] = psi.shape[1] * psi.strides[1];
    return psi;
}

static void ref_prepare(eqi_conv_plan *plan)
{
    const equinv_tensor psi = row_major_psi(&plan->problem, NULL);
    plan->head.packed_size = (size_t)(psi.shape[0] * psi.strides[0]) * equinv_dtype_size(psi.dtype);
}

static equinv_status ref_pack(const eqi_conv_plan *plan, const equinv_tensor *psi, void *packed)
{
    const equinv_tensor to = row_major_psi(&plan->problem, packed);
    const int64_t count = to.shape[0] * to.strides[0];
    for (int64_t i = 0; i < count; i++)
        eqi_store(&to, i, eqi_load(psi, eqi_offset_of(psi, i)));
    return EQUINV_OK;
}

static equinv_tensor ref_psi(const eqi_conv_plan *plan, const eqi_conv_weights *weights)
{
    return weights->packed ? row_major_psi(&plan->problem, weights->packed) : weights->psi;
}

static equinv_status ref_forward(const eqi_conv_plan *plan, const equinv_tensor *src,
                                 const eqi_conv_weights *weights, const equinv_tensor *bias,
                                 const equinv_tensor *dst, void *scratch)
{
    (void)scratch;
    const equinv_tensor psi = ref_psi(plan, weights);
    eqi_ref_conv_forward(&plan->problem, src, &psi, bias, dst);
    return EQUINV_OK;
}

static equinv_status ref_backward_data(const eqi_conv_plan *plan, const equinv_tensor *diff_dst,
                                       const eqi_conv_weights *weights, const equinv_tensor *bias,
                                       const equinv_tensor *diff_src, void *scratch)
{
    (void)scratch;
    const equinv_tensor psi = ref_psi(plan, weights);
    eqi_ref_conv_backward_data(&plan->problem, diff_dst, &psi, bias, diff_src);
    return EQUINV_OK;
}

static equinv_status ref_backward_weights(const eqi_conv_plan *plan, const equinv_tensor *src,
                                          const equinv_tensor *diff_dst,
                                          const equinv_tensor *diff_psi,
                                          const equinv_tensor *diff_bias, void *scratch)
{
    (void)scratch;
    eqi_ref_conv_backward_weights(&plan->problem, src, diff_dst, diff_psi, diff_bias);
    return EQUINV_OK;
}

static const eqi_conv_implementation ref = {
    {"conv/ref", eqi_supports_all, NULL},
    ref_table_size,
    ref_prepare,
    ref_pack,
    ref_forward,
    ref_backward_data,
    ref_backward_weights,
    eqi_ref_conv_transposed_bias,
    NULL,
    NULL,
};

const eqi_implementation *const eqi_conv_list[] = {&eqi_conv_window.head, &eqi_conv_gfourier.head,
                                                   &eqi_conv_gemm.head, &ref.head, NULL};
