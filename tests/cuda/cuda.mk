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
