#include "cpu/simd/scalar.h"

#include "cpu/kernel/node_map.inc.c"
