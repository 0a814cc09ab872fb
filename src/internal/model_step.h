/* One layer of a model at work: src/model_run.c takes the steps, src/model_step.c knows the operations. */
#ifndef EQI_MODEL_STEP_H
#define EQI_MODEL_STEP_H

#include "conv.h"
#include "model.h"

typedef struct eqi_step {
    equinv_model *model;
    const eqi_node *node;
    const equinv_plan *plan;
    const equinv_tensor *weights; /* as they are, or packed */
    equinv_tensor src[2], dst;
    equinv_tensor diff_dst, diff_src; /* diff_src.data NULL: not wanted */
    void *saved;                      /* for backward; NULL in evaluation */
    size_t saved_size;
    bool train;
    const eqi_conv_finish *finish; /* of a convolution in evaluation; NULL: nothing */
} eqi_step;

/* dst from src. */
equinv_status eqi_step_forward(const eqi_step *s);
/* Gradients of the layer's arrays and, if wanted, of its first input; not for an add. */
equinv_status eqi_step_backward(const eqi_step *s);

#endif
