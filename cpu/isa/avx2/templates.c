#include "cpu/simd/avx2.h"

#include "cpu/kernel/templates.inc.c"
