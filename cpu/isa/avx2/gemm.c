#include "cpu/simd/avx2.h"
#define ROWS 6
#define VECTORS 2
#define TALL 8
#define TALL_VECTORS 1
#define ELEMENT f32
#include "cpu/kernel/gemm.inc.c"
#define ELEMENT f64
#include "cpu/kernel/gemm.inc.c"
