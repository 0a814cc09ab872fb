# The CUDA plugin, built where nvcc is: CUDA=auto|0|1. CUDA_ARCHS=native builds for the GPU in this machine.
CUDA ?= auto
NVCC ?= $(or $(shell command -v nvcc 2>/dev/null),$(wildcard $(CUDA_HOME)/bin/nvcc))
# Machine code for the data centre cards, and PTX that the driver compiles for all others from 7.5 on.
CUDA_ARCHS ?= default
CUDA_CODE_default := -gencode arch=compute_80,code=sm_80 -gencode arch=compute_90a,code=sm_90a \
                     -gencode arch=compute_75,code=compute_75 -gencode arch=compute_80,code=compute_80
CUDA_CODE_native := -arch=native
CUDA_CODE = $(or $(CUDA_CODE_$(CUDA_ARCHS)),$(foreach arch,$(CUDA_ARCHS),-gencode arch=compute_$(arch),code=sm_$(arch)))

CUDA_SOURCES := $(sort $(wildcard cuda/*.cu))
PLUGIN := $(BUILD)/lib/libequinv-cuda.so
CUDA_OBJECTS := $(CUDA_SOURCES:%.cu=$(BUILD)/obj/%.o)

# No contraction, as in the CPU's files: an fma stands where it is written.
CUDA_FLAGS = -std=c++17 -O3 -fmad=false -lineinfo --resource-usage $(CUDA_CODE) $(INCLUDES) \
             -Xcompiler=-fPIC,-fvisibility=hidden,-ffp-contract=off,-Wall,-Wextra,-Wno-missing-field-initializers \
             $(if $(filter 1,$(WERROR)),-Werror all-warnings)

ifeq ($(CUDA),0)
CONFIG_LINES += "CUDA: left out (no GPU)"
else ifneq ($(NVCC),)
CONFIG_LINES += "CUDA: $(NVCC)"
BUILT_PLUGIN := $(PLUGIN)
else ifeq ($(CUDA),1)
$(error CUDA=1, but there is no nvcc in PATH or $(CUDA_HOME)/bin; the CUDA Toolkit has it)
else
CONFIG_LINES += "CUDA: no nvcc (no GPU; the kernels are still tested on the host)"
endif

.PHONY: plugin
plugin: $(BUILT_PLUGIN) ## the CUDA plugin alone

CUDA_FLAGS_FILE := $(BUILD)/cuda-flags
ifneq ($(BUILT_PLUGIN),)
$(shell mkdir -p $(BUILD) && printf '%s' '$(NVCC) $(CUDA_FLAGS)' | cmp -s - $(CUDA_FLAGS_FILE) || printf '%s' '$(NVCC) $(CUDA_FLAGS)' > $(CUDA_FLAGS_FILE))
endif

# What ptxas says of each kernel's registers stays beside the object, for check-cuda-resources.
$(BUILD)/obj/cuda/%.o: cuda/%.cu $(CUDA_FLAGS_FILE)
	$(call say,NVCC,$<)
	@mkdir -p $(@D)
	$(Q)$(NVCC) $(CUDA_FLAGS) -MMD -MP -MF $(@:.o=.d) -c $< -o $@ 2> $(@:.o=.usage); code=$$?; \
	    grep -vE '^ptxas info|^ +[0-9]+ bytes stack frame' $(@:.o=.usage) >&2; exit $$code

# cuBLAS stands beside nvcc (which may be a link), often in no folder that linker and loader know.
CUDA_ROOTS = $(dir $(NVCC)).. $(dir $(realpath $(NVCC)))..
CUDA_LIBRARY = $(abspath $(dir $(firstword $(wildcard $(foreach root,$(CUDA_ROOTS),$(root)/lib64/libcublas.so* \
    $(root)/targets/*/lib/libcublas.so* $(root)/lib/libcublas.so*)))))
$(PLUGIN): $(CUDA_OBJECTS)
	$(call say,LD,$@)
	@mkdir -p $(@D)
	$(Q)$(NVCC) -shared -cudart static -o $@ $(CUDA_OBJECTS) $(if $(CUDA_LIBRARY),-L$(CUDA_LIBRARY) -Xlinker -rpath=$(CUDA_LIBRARY)) -lcublas \
	    -Xlinker -soname,libequinv-cuda.so -Xlinker --no-undefined -Xlinker --exclude-libs,ALL
