#include "cpu/simd/avx512.h"

#include "cpu/kernel/node.inc.c"
