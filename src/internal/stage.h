/* Tensors of a context's device on their way through CPU memory, which files read and write. */
#ifndef EQI_STAGE_H
#define EQI_STAGE_H

#include "tensor.h"

/* equinv_tensor_copy, and it is done when this returns. */
equinv_status eqi_copy_now(equinv_context *ctx, const equinv_tensor *src, const equinv_tensor *dst);

/* Receives rows of a tensor in CPU memory that is gone afterwards. */
typedef equinv_status (*eqi_take_rows)(void *arg, const equinv_tensor *rows);

/*
 * Hands all of a tensor of any strides to `take`: in one piece if it is in CPU memory, else row-major
 * copies of a bounded number of rows, in order (a tensor without axes as one row).
 */
equinv_status eqi_stage_out(equinv_context *ctx, const equinv_tensor *tensor, eqi_take_rows take,
                            void *arg);

#endif
