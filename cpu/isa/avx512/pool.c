#include "cpu/simd/avx512.h"

#include "cpu/kernel/pool.inc.c"
