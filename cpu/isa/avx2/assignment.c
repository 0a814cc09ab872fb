#include "cpu/simd/avx2.h"
#include "cpu/kernel/assignment.inc.c"
