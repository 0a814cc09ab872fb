#include "cpu/simd/avx512.h"
#include "cpu/kernel/assignment.inc.c"
