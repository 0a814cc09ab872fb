#include "cpu/simd/scalar.h"

#include "cpu/kernel/resample.inc.c"
