/*
 * Random templates by vector kernels: one on every level but scalar, which has no fused
 * multiply-add.
 */
#ifndef EQI_TEMPLATES_KERNELS_H
#define EQI_TEMPLATES_KERNELS_H

#include "internal/context.h"
#include "internal/templates.h"

/* Whether it took the job: dst as in eqi_ref_templates, any strides. */
bool eqi_fast_templates(const equinv_context *ctx, equinv_template_kind kind, uint64_t seed,
                        uint64_t first, const equinv_tensor *dst);

/* A kernel makes blocks of four coordinates in multiples of this many. */
#define EQI_TEMPLATES_GROUP 16

/* Blocks block .. block + blocks - 1 of template number t, four numbers each. */
typedef void eqi_templates_kernel(equinv_template_kind kind, uint64_t seed, uint64_t t,
                                  uint64_t block, int64_t blocks, float *to);

#if defined(__x86_64__)
eqi_templates_kernel eqi_f32_templates_avx2, eqi_f32_templates_avx512;
#endif

#endif
