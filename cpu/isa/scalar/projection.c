#include "cpu/simd/scalar.h"

#include "cpu/kernel/projection.inc.c"
