ISA_FLAGS_avx512 := -mavx512f -mavx512vl -mavx512dq -mavx512bw -mavx2 -mfma -fopenmp-simd
