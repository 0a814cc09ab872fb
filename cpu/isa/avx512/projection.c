#include "cpu/simd/avx512.h"

#include "cpu/kernel/projection.inc.c"
