#include "cpu/simd/avx512.h"
#include "cpu/kernel/rows.inc.c"
