#include "cpu/simd/avx2.h"
#define ROWS 4
#define VECTORS 3
#define SUM_ROWS 5
#define SUM_COLUMNS 4
#define SUM_TILE 12
#define WOVEN 0
#include "cpu/kernel/gfourier.inc.c"
