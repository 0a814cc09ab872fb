ISA_FLAGS_avx2 := -mavx2 -mfma -fopenmp-simd
