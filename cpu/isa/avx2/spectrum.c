#include "cpu/simd/avx2.h"

#include "cpu/kernel/spectrum.inc.c"
