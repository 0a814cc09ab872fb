#include "cpu/simd/avx2.h"

#include "cpu/kernel/resample.inc.c"
