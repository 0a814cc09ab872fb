#include "cpu/simd/avx512.h"

#include "cpu/kernel/templates.inc.c"
