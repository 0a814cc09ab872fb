#include "cpu/simd/avx2.h"

#include "cpu/kernel/batch_norm.inc.c"
