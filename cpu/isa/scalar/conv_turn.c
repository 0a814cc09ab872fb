#include "cpu/simd/scalar.h"
#define BY_TAPS false
#include "cpu/kernel/conv_turn.inc.c"
