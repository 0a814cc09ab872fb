#include "cpu/simd/avx512.h"

#include "cpu/kernel/resample.inc.c"
