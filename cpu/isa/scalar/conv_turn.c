#include "cpu/simd/scalar.h"
#include "cpu/kernel/conv_turn.inc.c"
