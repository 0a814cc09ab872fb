#include "cpu/simd/scalar.h"
#include "cpu/kernel/rows.inc.c"
