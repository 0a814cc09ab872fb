#include "cpu/simd/avx2.h"
#include "cpu/kernel/rows.inc.c"
