# The CUDA plugin for the host: cuda/*.cu as plain C++ on the stand-in in tests/cuda_host.
CUDA_HOST_FLAGS := -std=c++17 -DEQI_CUDA_ON_HOST -fPIC -fvisibility=hidden -ffp-contract=off -fno-strict-aliasing \
                   -fstack-clash-protection -pthread -Wall -Wextra
ifneq ($(SANITIZE),)
CUDA_HOST_FLAGS += -fsanitize=$(SANITIZE) -fno-sanitize-recover=all -fno-omit-frame-pointer \
                   $(if $(findstring undefined,$(SANITIZE)),-DEQI_HOST_UBSAN)
endif
ifeq ($(WERROR),1)
CUDA_HOST_FLAGS += -Werror
endif

CUDA_HOST_OBJ := $(BUILD)/obj/cuda-host
CUDA_HOST_PLANTED := $(wildcard tests/cuda_host/planted_*.cpp) tests/cuda_host/test_planted.cpp
CUDA_HOST_ENGINE := $(patsubst %.cpp,$(CUDA_HOST_OBJ)/%.o,$(filter-out $(CUDA_HOST_PLANTED),$(sort $(wildcard tests/cuda_host/*.cpp))))
CUDA_HOST_OBJECTS := $(CUDA_SOURCES:%.cu=$(CUDA_HOST_OBJ)/%.o)
CUDA_HOST_PLUGIN := $(if $(HAVE_CXX),$(if $(CUDA_SOURCES),$(BUILD)/cuda-host/libequinv-cuda.so))
CUDA_HOST_PROGRAMS := $(if $(HAVE_CXX),$(BUILD)/tests/cuda_host/planted)
CUDA_HOST_SKIP := $(if $(HAVE_CXX),,SKIP cuda_host: no C++ compiler ($(CXX)))

CUDA_HOST_FLAGS_FILE := $(BUILD)/flags-cuda-host
CUDA_HOST_FLAGS_TEXT := $(CXX) $(CUDA_HOST_FLAGS) $(CPPFLAGS) $(CFLAGS) $(LDFLAGS)
$(shell mkdir -p $(BUILD) && printf '%s' '$(CUDA_HOST_FLAGS_TEXT)' | cmp -s - $(CUDA_HOST_FLAGS_FILE) || printf '%s' '$(CUDA_HOST_FLAGS_TEXT)' > $(CUDA_HOST_FLAGS_FILE))
cuda_host_compile = $(Q)$(CXX) $(CUDA_HOST_FLAGS) $(INCLUDES) $(CPPFLAGS) $(CFLAGS) -MMD -MP -c

$(CUDA_HOST_OBJ)/%.o: %.cu $(CUDA_HOST_FLAGS_FILE)
	$(call say,CXX,$<)
	@mkdir -p $(@D)
	$(cuda_host_compile) -x c++ $< -o $@

$(CUDA_HOST_OBJ)/%.o: %.cpp $(CUDA_HOST_FLAGS_FILE)
	$(call say,CXX,$<)
	@mkdir -p $(@D)
	$(cuda_host_compile) $< -o $@

.PHONY: cuda-host
cuda-host: $(CUDA_HOST_PLUGIN) $(CUDA_HOST_PROGRAMS) ## the CUDA plugin as plain C++, and the test of its stand-in

# Never unloaded: its signal handler and coroutines stay in use.
$(BUILD)/cuda-host/libequinv-cuda.so: $(CUDA_HOST_OBJECTS) $(CUDA_HOST_ENGINE) tests/cuda_host/exports.map
	$(call say,LD,$@)
	@mkdir -p $(@D)
	$(Q)$(CXX) -shared $(if $(SANITIZE),,-Wl,--no-undefined) -Wl,-z,nodelete -Wl,--version-script=tests/cuda_host/exports.map $(LINK_FLAGS) $(CFLAGS) $(LDFLAGS) \
	    -pthread -o $@ $(filter %.o,$^) -lm

$(BUILD)/tests/cuda_host/planted: $(CUDA_HOST_PLANTED:%.cpp=$(CUDA_HOST_OBJ)/%.o) $(CUDA_HOST_ENGINE)
	$(call say,LD,$@)
	@mkdir -p $(@D)
	$(Q)$(CXX) $(LINK_FLAGS) $(CFLAGS) $(LDFLAGS) -pthread -o $@ $^ -lm

# Stand-ins for the libraries that equinv-bench opens beside a GPU, by all names that it may open.
FAKE_GPU := $(BUILD)/tests/fake_gpu
FAKE_GPU_VERSIONS_libcuda := 1
FAKE_GPU_VERSIONS_libcudnn := 8 9
FAKE_GPU_VERSIONS_libcublas := 11 12 13 14
FAKE_GPU_LIBRARIES := $(if $(findstring EQI_HAVE_CU,$(BENCH_DEFINES)),$(FAKE_GPU)/libcuda.so) \
                      $(if $(findstring EQI_HAVE_CUDNN,$(BENCH_DEFINES)),$(FAKE_GPU)/libcudnn.so) \
                      $(if $(findstring EQI_HAVE_CUBLAS,$(BENCH_DEFINES)),$(FAKE_GPU)/libcublas.so)
$(BUILD)/obj/tests/fake_gpu/%.o: INCLUDES += $(TOOLKIT_FLAGS)
$(FAKE_GPU)/%.so: $(BUILD)/obj/tests/fake_gpu/%.o
	$(call say,LD,$@)
	@mkdir -p $(@D)
	$(Q)$(CC) -shared $(LINK_FLAGS) $(CFLAGS) $(LDFLAGS) -o $@ $<
	$(Q)for version in $(FAKE_GPU_VERSIONS_$*); do ln -sf $*.so $@.$$version; done
$(BUILD)/tests/cuda/peers: | $(FAKE_GPU_LIBRARIES) program
