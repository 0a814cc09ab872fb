#include "cpu/simd/avx512.h"
#include "cpu/kernel/conv_turn.inc.c"
