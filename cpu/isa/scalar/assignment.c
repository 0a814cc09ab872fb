#include "cpu/simd/scalar.h"
#include "cpu/kernel/assignment.inc.c"
