#include "cpu/simd/avx512.h"
#include "cpu/kernel/distance.inc.c"
