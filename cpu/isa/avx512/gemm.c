#include "cpu/simd/avx512.h"
#define ROWS 6
#define VECTORS 4
#define ELEMENT f32
#include "cpu/kernel/gemm.inc.c"
#define ELEMENT f64
#include "cpu/kernel/gemm.inc.c"
