# equinv: `make help` says what there is.

# Parts that are included below name targets before `all`.
.DEFAULT_GOAL := all

BUILD ?= build
prefix ?= /usr/local
includedir ?= $(prefix)/include
libdir ?= $(prefix)/lib
bindir ?= $(prefix)/bin
DESTDIR ?=
GOLDEN ?= ../shared/golden
ifeq ($(origin CC),default)
CC := gcc
endif
JOBS ?= $(shell nproc 2>/dev/null || echo 1)
V ?= 0
ifeq ($(V),0)
Q := @
say = @printf '  %-6s %s\n' $(1) $(2)
else
Q :=
say =
endif

HEADER := include/equinv/equinv.h
version_part = $(shell sed -n 's/^\#define EQUINV_VERSION_$(1) //p' $(HEADER))
MAJOR := $(call version_part,MAJOR)
MINOR := $(call version_part,MINOR)
VERSION := $(MAJOR).$(MINOR).$(call version_part,PATCH)
SONAME := libequinv.so.$(MAJOR).$(MINOR)

include flags.mk
include deps.mk

# ---- what is built -------------------------------------------------------------------------------

# A checksum of every header that library and plugin share: a plugin of other sources is refused.
INTERFACE := $(BUILD)/interface/equinv-interface.h
INTERFACE_TEXT := $(shell mkdir -p $(dir $(INTERFACE)) && printf '\043define EQI_PLUGIN_ABI UINT32_C(0x%08x)' \
                    $$(cat $(HEADER) $(sort $(wildcard src/internal/*.h)) | cksum | cut -d' ' -f1))
$(shell printf '%s\n' '$(INTERFACE_TEXT)' | cmp -s - $(INTERFACE) || printf '%s\n' '$(INTERFACE_TEXT)' > $(INTERFACE))

INCLUDES := -Iinclude -Isrc -I. -I$(dir $(INTERFACE))
LIB_SOURCES := $(sort $(wildcard src/*.c cpu/*.c cpu/ref/*.c cpu/gemm/*.c cpu/gfourier/*.c cpu/node/*.c cpu/rows/*.c cpu/templates/*.c))
ARCH := $(shell $(CC) -dumpmachine 2>/dev/null | cut -d- -f1)
ISA_LEVELS := scalar $(if $(filter x86_64,$(ARCH)),avx2 avx512)
-include $(foreach level,$(ISA_LEVELS),$(wildcard cpu/isa/$(level)/flags.mk))
LIB_SOURCES += $(foreach level,$(ISA_LEVELS),$(sort $(wildcard cpu/isa/$(level)/*.c)))
LIB_OBJECTS := $(LIB_SOURCES:%.c=$(BUILD)/obj/%.o)
TOOL_OBJECTS := $(patsubst %.c,$(BUILD)/obj/%.o,$(sort $(wildcard tools/*.c)))
BENCH_SOURCES := $(filter-out $(BENCH_ABSENT),$(sort $(wildcard bench/*.c))) tools/complain.c tools/options.c tools/group.c tools/json.c
BENCH_OBJECTS := $(BENCH_SOURCES:%.c=$(BUILD)/obj/%.o) $(if $(HAVE_CXX),$(BUILD)/obj/bench/peer_std_cxx.o)
EXAMPLES := $(patsubst examples/%.c,$(BUILD)/bin/%,$(sort $(wildcard examples/*.c)))
# The demo and the paper's experiments: a folder each, and what they share.
EXPERIMENTS := demo digits augmentation molecules $(if $(findstring EQI_HAVE_CJSON,$(LIB_DEFINES)),paper)
EXPERIMENT_COMMON := $(patsubst %.c,$(BUILD)/obj/%.o,$(sort $(wildcard examples/common/*.c)) \
                     $(addprefix tools/,complain.c digits.c gnuplot.c group.c json.c mirror.c options.c))
EXPERIMENT_PROGRAMS := $(EXPERIMENTS:%=$(BUILD)/bin/equinv-%)
TEST_UTIL_OBJECTS := $(patsubst %.c,$(BUILD)/obj/%.o,$(sort $(wildcard tests/util/*.c)))
TEST_SOURCES := $(sort $(wildcard tests/unit/*.c tests/ops/*.c tests/capi/*.c tests/cuda/*.c))
TEST_PROGRAMS := $(patsubst tests/%.c,$(BUILD)/tests/%,$(TEST_SOURCES))
GOLDEN_PROGRAM := $(if $(wildcard tests/golden/*.c),$(BUILD)/tests/golden/run)
FUZZ_SOURCES := $(sort $(wildcard tests/fuzz/fuzz_*.c))
FUZZ_REPLAY := $(patsubst tests/fuzz/%.c,$(BUILD)/tests/fuzz/%,$(FUZZ_SOURCES))

STATIC := $(BUILD)/lib/libequinv.a
SHARED := $(BUILD)/lib/libequinv.so.$(VERSION)

include cuda/cuda.mk

.PHONY: all
all: lib program examples $(BUILT_PLUGIN)
.PHONY: lib program examples
lib: $(STATIC) $(SHARED)
program: $(BUILD)/bin/equinv $(BUILD)/bin/equinv-bench
examples: $(EXAMPLES) $(EXPERIMENT_PROGRAMS)

# Objects depend on this file, which changes only when the flags do.
FLAGS_TEXT := $(CC) $(CFLAGS) $(CPPFLAGS) $(BASE_FLAGS) $(LDFLAGS) $(LINK_FLAGS) $(LIB_DEFINES) $(TEST_DEFINES) $(LIB_LIBS) $(BENCH_DEFINES) $(BENCH_LIBS) $(foreach level,$(ISA_LEVELS),$(ISA_FLAGS_$(level)))
FLAGS_FILE := $(BUILD)/flags
$(shell mkdir -p $(BUILD) && printf '%s' '$(FLAGS_TEXT)' | cmp -s - $(FLAGS_FILE) || printf '%s' '$(FLAGS_TEXT)' > $(FLAGS_FILE))

level_of = $(word 3,$(subst /, ,$(1)))
extra_flags = $(if $(filter cpu/isa/%,$(1)),$(ISA_FLAGS_$(call level_of,$(1)))) $(if $(filter tests/%,$(1)),$(TEST_DEFINES)) $(if $(filter bench/%,$(1)),$(BENCH_DEFINES))

$(BUILD)/obj/%.o: %.c $(FLAGS_FILE)
	$(call say,CC,$<)
	@mkdir -p $(@D)
	$(Q)$(CC) $(BASE_FLAGS) $(LIB_DEFINES) $(call extra_flags,$<) $(INCLUDES) $(CPPFLAGS) $(CFLAGS) -MMD -MP -c $< -o $@

$(STATIC): $(LIB_OBJECTS)
	$(call say,AR,$@)
	@mkdir -p $(@D)
	@rm -f $@
	$(Q)ar rcs $@ $(LIB_OBJECTS)

$(SHARED): $(LIB_OBJECTS)
	$(call say,LD,$@)
	@mkdir -p $(@D)
	$(Q)$(CC) -shared -Wl,-soname,$(SONAME) $(if $(SANITIZE),,-Wl,--no-undefined) $(LINK_FLAGS) $(CFLAGS) $(LDFLAGS) -pthread -o $@ $(LIB_OBJECTS) $(LIB_LIBS)
	@ln -sf $(notdir $@) $(BUILD)/lib/$(SONAME)
	@ln -sf $(SONAME) $(BUILD)/lib/libequinv.so

link = $(Q)$(CC) $(LINK_FLAGS) $(CFLAGS) $(LDFLAGS) -pthread -o $@

$(BUILD)/bin/equinv: $(TOOL_OBJECTS) $(STATIC)
	$(call say,LD,$@)
	@mkdir -p $(@D)
	$(link) $(TOOL_OBJECTS) $(STATIC) $(LIB_LIBS)

$(BUILD)/bin/equinv-bench: $(BENCH_OBJECTS) $(STATIC)
	$(call say,LD,$@)
	@mkdir -p $(@D)
	$(link) $(BENCH_OBJECTS) $(STATIC) $(BENCH_LIBS) $(LIB_LIBS)

$(EXAMPLES): $(BUILD)/bin/%: $(BUILD)/obj/examples/%.o $(STATIC)
	$(call say,LD,$@)
	@mkdir -p $(@D)
	$(link) $< $(STATIC) $(LIB_LIBS)

# From the sources of its folder and what all share.
define experiment
$(BUILD)/bin/equinv-$(1): $(patsubst %.c,$(BUILD)/obj/%.o,$(sort $(wildcard examples/$(1)/*.c))) $(EXPERIMENT_COMMON) $(STATIC)
	$$(call say,LD,$$@)
	@mkdir -p $$(@D)
	$$(link) $$^ $(LIB_LIBS)
endef
$(foreach name,$(EXPERIMENTS),$(eval $(call experiment,$(name))))

$(BUILD)/tests/unit/molecules: $(BUILD)/obj/examples/molecules/graph.o
$(addprefix $(BUILD)/tests/,unit/molecules_network cuda/molecules): $(addprefix $(BUILD)/obj/,examples/molecules/graph.o \
    examples/molecules/network.o tools/mirror.o)
$(BUILD)/tests/cuda/molecules: | $(BUILD)/bin/equinv-molecules
$(TEST_PROGRAMS): $(BUILD)/tests/%: $(BUILD)/obj/tests/%.o $(TEST_UTIL_OBJECTS) $(STATIC)
	$(call say,LD,$@)
	@mkdir -p $(@D)
	$(link) $(filter %.o,$^) $(STATIC) $(LIB_LIBS) $(TEST_LIBS)

GOLDEN_OBJECTS := $(patsubst %.c,$(BUILD)/obj/%.o,$(sort $(wildcard tests/golden/*.c)))
$(GOLDEN_PROGRAM): $(GOLDEN_OBJECTS) $(TEST_UTIL_OBJECTS) $(STATIC)
	$(call say,LD,$@)
	@mkdir -p $(@D)
	$(link) $(GOLDEN_OBJECTS) $(TEST_UTIL_OBJECTS) $(STATIC) $(LIB_LIBS) $(TEST_LIBS)

$(FUZZ_REPLAY): $(BUILD)/tests/fuzz/%: $(BUILD)/obj/tests/fuzz/%.o $(BUILD)/obj/tests/fuzz/replay.o $(STATIC)
	$(call say,LD,$@)
	@mkdir -p $(@D)
	$(link) $< $(BUILD)/obj/tests/fuzz/replay.o $(STATIC) $(LIB_LIBS)

-include $(shell find $(BUILD)/obj -name '*.d' 2>/dev/null)
.SECONDARY:

include bench/bench.mk
include tests/cuda_host/cuda_host.mk
include tests/cuda/cuda.mk
include tests/check.mk
include install.mk

# ---- the rest ------------------------------------------------------------------------------------

.PHONY: demo molecules paper docs-pictures setup config clean format format-check help
demo: ## train on digits, compare codes before and after projection: table, picture, report
	@tools/setup.sh --quiet
	@$(MAKE) --no-print-directory -j$(JOBS) $(BUILD)/bin/equinv-demo
	@mkdir -p build/demo
	@$(BUILD)/bin/equinv-demo

# SEED=2 another run of all that is random; DEVICE=cuda where the plugin is; PAPER=dir.
PAPER ?= build/paper
SEED ?= 1
DEVICE ?= cpu
# PAPER_FULL=1: all molecules, from the files that make_data.py --all wrote to MOLECULES, if they are there.
MOLECULES ?= build/molecules
ALL_MOLECULES = $(and $(filter 1,$(PAPER_FULL)),$(wildcard $(MOLECULES)/qm9-train-graphs.npy.gz))
paper molecules: export PAPER := $(PAPER)
paper molecules: export MOLECULES := $(MOLECULES)
# Of an earlier run, whole or cut off; not its checkpoint, which --resume may be for.
PAPER_FILES := report.json report.html digits.json digits-*.png augmentation.json molecules.json molecules-*.png molecules-*.svg *.part
# One thread: its batches are too small to share out.
RUN_MOLECULES = $(BUILD)/bin/equinv-molecules --threads 1 --seed $(SEED) --device $(DEVICE) --output "$$PAPER" $(if $(ALL_MOLECULES),--data "$$MOLECULES")
paper: ## the paper's experiments with the data that are here: build/paper/report.html, report.json
	@tools/setup.sh --quiet
	@$(MAKE) --no-print-directory -j$(JOBS) $(EXPERIMENT_PROGRAMS)
	@[ ! -d "$$PAPER" ] || { cd "$$PAPER" && rm -f $(PAPER_FILES); }
	@examples/paper/run.sh $(BUILD)/bin $(SEED) $(DEVICE) $(RUN_MOLECULES)

molecules: ## train a graph autoencoder on molecules, compare raw and sorted codes: table, pictures, figures
	@tools/setup.sh --quiet
	@$(MAKE) --no-print-directory -j$(JOBS) $(BUILD)/bin/equinv-molecules
	@$(RUN_MOLECULES)

docs-pictures: program ## pictures and figures of docs/projections.md (gnuplot)
	@docs/pictures.sh $(BUILD)/bin examples/data docs

setup: ## install what is missing from Debian's packages (root or sudo without password)
	@tools/setup.sh

config: ## show the compiler, flags and what each missing library costs
	@printf '%s\n' "version: $(VERSION)" "compiler: $(CC)" "flags: $(CFLAGS) $(BASE_FLAGS)" "instruction sets: $(ISA_LEVELS)" $(CONFIG_LINES)

FORMATTED = $(shell git ls-files '*.c' '*.h' '*.cu' '*.cuh' '*.cpp')
format: ## lay out the sources with clang-format
	clang-format -i $(FORMATTED)
format-check: ## fail if clang-format would change anything
	@if command -v clang-format >/dev/null; then clang-format --dry-run --Werror $(FORMATTED) && echo "format: clean"; \
	else echo "SKIP format: clang-format is not installed"; fi

clean: ## remove everything built
	rm -rf $(BUILD)

help: ## this list
	@printf 'make            build libraries, program and examples into $(BUILD)/\n'
	@sed -n 's/^\([a-z][a-z-]*\):.*## \(.*\)/\1\t\2/p' $(MAKEFILE_LIST) | sort -u | awk -F'\t' '{printf "make %-16s %s\n", $$1, $$2}'
	@printf '\nVariables: CC, CFLAGS, BUILD, JOBS, prefix, DESTDIR, V=1, WERROR=1, SANITIZE=address|undefined,\n'
	@printf 'OPENBLAS PTHREADPOOL CJSON ZLIB CHECK ONEDNN CUDNN CUBLAS CUDA = auto|0|1, CUDA_ARCHS=native, GOLDEN=dir\n'
