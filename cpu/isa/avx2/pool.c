#include "cpu/simd/avx2.h"

#include "cpu/kernel/pool.inc.c"
