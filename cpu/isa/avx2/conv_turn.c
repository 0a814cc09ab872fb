#include "cpu/simd/avx2.h"
#include "cpu/kernel/conv_turn.inc.c"
