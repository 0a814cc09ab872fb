#include "cpu/simd/scalar.h"
#include "cpu/kernel/distance.inc.c"
