#include "cpu/simd/scalar.h"

#include "cpu/kernel/node_norm.inc.c"
