#include "cpu/simd/scalar.h"

#include "cpu/kernel/spectrum.inc.c"
