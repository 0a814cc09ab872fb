# Optional libraries: NAME=auto|0|1. auto uses what is found, 0 leaves it out, 1 demands it.
# Each found one adds -DEQI_HAVE_<NAME>, its flags and its libraries; `make config` shows the result.
PKG_CONFIG ?= pkg-config
OPENBLAS ?= auto
PTHREADPOOL ?= auto
CJSON ?= auto
ZLIB ?= auto
CHECK ?= auto

pkg_found = $(shell $(PKG_CONFIG) --exists $(1) 2>/dev/null && echo 1)
# Debian's pthreadpool has no .pc file: ask the compiler. (Makes differ in what they do to \# in a call.)
hash := \#
header_found = $(shell printf '$(hash)include <$(1)>\n' | $(CC) -E -x c - >/dev/null 2>&1 && echo 1)

define optional # name, found, cflags, libs, what its absence costs
ifeq ($$($(1)),0)
CONFIG_LINES += "$(1): left out ($(5))"
else ifneq ($(2),)
DEFINES += -DEQI_HAVE_$(1)=1 $(3)
LIBS += $(4)
CONFIG_LINES += "$(1): yes"
else ifeq ($$($(1)),1)
$$(error $(1)=1, but it was not found; make setup installs it)
else
CONFIG_LINES += "$(1): not found ($(5))"
endif
endef

pkg_flags = $(shell $(PKG_CONFIG) --$(2) $(1) 2>/dev/null)
$(eval $(call optional,OPENBLAS,$(call pkg_found,openblas),$(call pkg_flags,openblas,cflags),$(call pkg_flags,openblas,libs),the built-in GEMM serves))
$(eval $(call optional,PTHREADPOOL,$(call header_found,pthreadpool.h),,-lpthreadpool,a small pool of its own serves))
$(eval $(call optional,CJSON,$(call pkg_found,libcjson),$(call pkg_flags,libcjson,cflags),$(call pkg_flags,libcjson,libs),model files and checkpoints cannot be loaded))
$(eval $(call optional,ZLIB,$(call pkg_found,zlib),$(call pkg_flags,zlib,cflags),$(call pkg_flags,zlib,libs),.gz files cannot be read))
# Check serves the tests alone: its libraries stay out of the product.
LIB_LIBS := $(LIBS) -lm -ldl
LIB_DEFINES := $(DEFINES)
LIBS :=
DEFINES :=
$(eval $(call optional,CHECK,$(call pkg_found,check),$(call pkg_flags,check,cflags),$(call pkg_flags,check,libs),the tests run on a small stand-in))
TEST_LIBS := $(LIBS)
TEST_DEFINES := $(DEFINES)

# What equinv-bench alone is compared with; `make bench-build` installs it.
LIBS :=
DEFINES :=
ONEDNN ?= auto
# Version 2 of its interface, and the library beside the header.
onednn_2 = $(shell printf '$(hash)include <dnnl.h>\n$(hash)if DNNL_VERSION_MAJOR != 2\n$(hash)error\n$(hash)endif\n' | $(CC) -E -x c - >/dev/null 2>&1 && echo 1)
library_found = $(filter /%,$(shell $(CC) -print-file-name=lib$(1).so 2>/dev/null))
$(eval $(call optional,ONEDNN,$(and $(onednn_2),$(call library_found,dnnl)),,-ldnnl -lgomp,no oneDNN beside equinv-bench))
# Headers of the CUDA Toolkit alone: these libraries are opened when equinv-bench runs.
CUDNN ?= auto
CUBLAS ?= auto
CUDA_HOME ?= /usr/local/cuda
TOOLKIT_FLAGS := $(if $(wildcard $(CUDA_HOME)/include/cuda.h),-isystem $(CUDA_HOME)/include)
toolkit_found = $(if $(filter 0,$(CUDA)),,$(shell printf '$(hash)include <cuda.h>\n$(hash)include <$(1)>\n' | $(CC) $(TOOLKIT_FLAGS) -E -x c - >/dev/null 2>&1 && echo 1))
$(eval $(call optional,CUDNN,$(call toolkit_found,cudnn.h),,,no cuDNN beside equinv-bench))
$(eval $(call optional,CUBLAS,$(call toolkit_found,cublas_v2.h),,,no cuBLAS beside equinv-bench))
ifeq ($(origin CXX),default)
CXX := $(if $(findstring clang,$(notdir $(CC))),clang++,g++)
endif
HAVE_CXX := $(shell command -v $(CXX) 2>/dev/null)
BENCH_LIBS := $(LIBS)
BENCH_DEFINES := $(DEFINES) $(if $(HAVE_CXX),-DEQI_HAVE_STD=1)
# Their C files; bench/peer_<name>* of the others are not compiled.
BENCH_ABSENT := $(if $(findstring EQI_HAVE_ONEDNN,$(DEFINES)),,bench/peer_onednn.c bench/peer_onednn_net.c) \
                $(if $(findstring EQI_HAVE_OPENBLAS,$(LIB_DEFINES)),,$(wildcard bench/peer_openblas*.c)) \
                $(if $(HAVE_CXX),,bench/peer_std.c) \
                $(if $(findstring EQI_HAVE_CUDNN,$(DEFINES)),,bench/peer_cudnn.c) \
                $(if $(findstring EQI_HAVE_CUBLAS,$(DEFINES)),,bench/peer_cublas.c) \
                $(if $(findstring EQI_HAVE_CU,$(DEFINES)),,bench/peer_gpu.c)
