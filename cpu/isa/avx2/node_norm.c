#include "cpu/simd/avx2.h"

#include "cpu/kernel/node_norm.inc.c"
