#include "cpu/simd/avx2.h"
#include "cpu/kernel/distance.inc.c"
