#include "cpu/simd/avx512.h"
#define ROWS 8
#define VECTORS 3
#define SUM_ROWS 6
#define SUM_COLUMNS 8
#define SUM_TILE 24
#define WOVEN 1
#include "cpu/kernel/gfourier.inc.c"
