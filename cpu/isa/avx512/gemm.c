#include "cpu/simd/avx512.h"
#define ROWS 6
#define VECTORS 4
#define TALL 8
#define TALL_VECTORS 3
#define ELEMENT f32
#include "cpu/kernel/gemm.inc.c"
#define ELEMENT f64
#include "cpu/kernel/gemm.inc.c"
