#include "cpu/simd/avx512.h"

#include "cpu/kernel/node_map.inc.c"
