#include "cpu/simd/scalar.h"

#include "cpu/kernel/node.inc.c"
