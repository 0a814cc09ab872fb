ISA_FLAGS_scalar :=
