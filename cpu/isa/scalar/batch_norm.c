#include "cpu/simd/scalar.h"

#include "cpu/kernel/batch_norm.inc.c"
