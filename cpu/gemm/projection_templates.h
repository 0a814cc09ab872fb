/* Gradients of templates by products, for the implementations of C_n and D_n. */
#ifndef EQI_GEMM_PROJECTION_TEMPLATES_H
#define EQI_GEMM_PROJECTION_TEMPLATES_H

#include "internal/projection.h"

/* Bytes of a slice of scratch that it needs; nothing shared. */
size_t eqi_gemm_templates_slice(const equinv_projection *p);

equinv_status eqi_gemm_templates_backward(const equinv_projection *p,
                                          const eqi_projection_call *call);

#endif
