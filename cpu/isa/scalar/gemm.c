#include "cpu/simd/scalar.h"
#define ROWS 4
#define VECTORS 2
#define TALL 6
#define TALL_VECTORS 1
#define ELEMENT f32
#include "cpu/kernel/gemm.inc.c"
#define ELEMENT f64
#include "cpu/kernel/gemm.inc.c"
