#include "cpu/simd/avx512.h"
#define BY_TAPS false
#include "cpu/kernel/conv_turn.inc.c"
