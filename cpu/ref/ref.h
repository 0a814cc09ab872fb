/*
 * The reference: plain C, sums in double, indices named as in the mathematics. It is the
 * specification; whoever doubts a fast kernel reads the file of that name here. Arguments were
 * checked before; feature maps come as five-axis views with any strides.
 */
#ifndef EQI_REF_H
#define EQI_REF_H

#include "internal/group.h"

void eqi_ref_act(equinv_group group, int32_t element, const equinv_tensor *src,
                 const equinv_tensor *dst);

#endif
