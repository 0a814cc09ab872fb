# Tests of the CUDA plugin: plugins that are none of ours, what the real one exports and needs, what its
# kernels cost in registers, and everything that needs a GPU.
FOREIGN_PLUGINS := $(patsubst tests/%.c,$(BUILD)/tests/%.so,$(sort $(wildcard tests/cuda/plugins/*.c)))

$(FOREIGN_PLUGINS): $(BUILD)/tests/%.so: $(BUILD)/obj/tests/%.o
	$(call say,LD,$@)
	@mkdir -p $(@D)
	$(Q)$(CC) -shared $(LINK_FLAGS) $(CFLAGS) $(LDFLAGS) -o $@ $<

$(BUILD)/tests/cuda/plugin: | $(FOREIGN_PLUGINS) program

NO_NVCC = echo "SKIP $@: $(if $(filter 0,$(CUDA)),CUDA=0 leaves the plugin out,no nvcc in PATH or $(CUDA_HOME)/bin)"

.PHONY: check-plugin check-cuda-resources cuda-resources
check-plugin: $(BUILT_PLUGIN) lib program ## the CUDA plugin's symbol and libraries, and how it declines
	@$(if $(BUILT_PLUGIN),tests/cuda/check_plugin.sh $(BUILD),$(NO_NVCC))

check-cuda-resources: $(BUILT_PLUGIN) ## registers, shared memory, stack and spills of every kernel as listed
	@$(if $(BUILT_PLUGIN),tests/cuda/resources.sh check $(BUILD)/obj/cuda $(NVCC) $(CUDA_OBJECTS:.o=.usage),$(NO_NVCC))

cuda-resources: $(BUILT_PLUGIN) ## accept what kernels cost now: writes cuda/resources.txt
	@$(if $(BUILT_PLUGIN),tests/cuda/resources.sh write $(BUILD)/obj/cuda $(NVCC) $(CUDA_OBJECTS:.o=.usage),$(NO_NVCC))

CURAND_TEST := $(BUILD)/tests/cuda/curand
$(CURAND_TEST): tests/cuda/curand.cu $(STATIC) $(CUDA_FLAGS_FILE)
	$(call say,NVCC,$<)
	@mkdir -p $(@D)
	$(Q)$(NVCC) -std=c++17 -O2 -Iinclude $(if $(filter 1,$(WERROR)),-Werror all-warnings) -Xcompiler=-pthread,-Wall,-Wextra $(LINK_FLAGS:%=-Xcompiler=%) \
	    -o $@ $< $(STATIC) $(LIB_LIBS)

.PHONY: check-curand
check-curand: $(if $(BUILT_PLUGIN),$(CURAND_TEST)) ## Philox against cuRAND's; needs nvcc, no GPU
	@$(if $(BUILT_PLUGIN),$(CURAND_TEST),$(NO_NVCC))

# ---- what needs a GPU ----------------------------------------------------------------------------
# Built apart and for this machine's GPU; needs gcc, make, the CUDA Toolkit and a driver, nothing else.
RESULTS ?= bench/results
CUDA_BUILD := $(BUILD)/cuda
CUDA_TESTS := $(patsubst tests/%.c,$(CUDA_BUILD)/tests/%,$(sort $(wildcard tests/cuda/*.c)))
# gpu_target(what is built, script that runs): 77 of the scripts is a skip, which they have said.
gpu_target = tests/cuda/gpu.sh $@ "$(NVCC)" && \
    $(MAKE) --no-print-directory BUILD=$(CUDA_BUILD) CUDA=1 CUDA_ARCHS=$(if $(filter default,$(CUDA_ARCHS)),native,$(CUDA_ARCHS)) \
        -j$(JOBS) plugin program $(1) && \
    tests/cuda/$(2) $(CUDA_BUILD) $(CUDA_BUILD)/lib/libequinv-cuda.so $(RESULTS); \
    code=$$?; [ $$code = 77 ] || exit $$code

.PHONY: check-cuda bench-cuda
check-cuda: ## test on a GPU (fails without one; with EQUINV_REQUIRE_CUDA=0 it says SKIP), log into RESULTS=dir
	@$(call gpu_target,$(CUDA_TESTS),check.sh $(NVCC) "$(CUDA_TESTS)")

bench-cuda: ## time CUDA beside the CPU, table and JSON into RESULTS=dir; without a GPU as check-cuda
	@$(call gpu_target,$(CUDA_BUILD)/bin/equinv-bench,bench.sh)
