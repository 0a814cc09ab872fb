#include "cpu/simd/avx512.h"

#include "cpu/kernel/spectrum.inc.c"
