#include "cpu/simd/avx2.h"
#define BY_TAPS true
#include "cpu/kernel/conv_turn.inc.c"
