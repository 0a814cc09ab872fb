#include "cpu/simd/avx2.h"

#include "cpu/kernel/projection.inc.c"
