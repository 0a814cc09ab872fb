#include "cpu/simd/avx2.h"
#define ROWS 4
#define VECTORS 3
#include "cpu/kernel/gfourier.inc.c"
