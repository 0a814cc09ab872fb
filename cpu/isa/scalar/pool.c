#include "cpu/simd/scalar.h"

#include "cpu/kernel/pool.inc.c"
