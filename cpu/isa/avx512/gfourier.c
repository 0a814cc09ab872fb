#include "cpu/simd/avx512.h"
#define ROWS 8
#define VECTORS 3
#include "cpu/kernel/gfourier.inc.c"
