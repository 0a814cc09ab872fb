#include "cpu/simd/scalar.h"
#define ROWS 4
#define VECTORS 3
#define SUM_ROWS 3
#define SUM_COLUMNS 3
#define WOVEN 0
#include "cpu/kernel/gfourier.inc.c"
