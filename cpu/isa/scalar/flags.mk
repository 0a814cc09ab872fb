# The base level of the machine. `#pragma omp simd` lets the compiler vectorise a marked loop; no
# OpenMP runtime is involved.
ISA_FLAGS_scalar := -fopenmp-simd
