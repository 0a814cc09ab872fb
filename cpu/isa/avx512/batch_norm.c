#include "cpu/simd/avx512.h"

#include "cpu/kernel/batch_norm.inc.c"
