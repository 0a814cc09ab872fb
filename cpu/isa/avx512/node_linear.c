#include "cpu/simd/avx512.h"

#include "cpu/kernel/node_linear.inc.c"
