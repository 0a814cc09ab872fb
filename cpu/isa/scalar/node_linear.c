#include "cpu/simd/scalar.h"

#include "cpu/kernel/node_linear.inc.c"
