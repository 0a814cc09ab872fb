# Tests. `make check` is everything that runs in minutes; the other targets say what they add.
.PHONY: check check-run check-golden golden-run check-symbols check-isa-leak check-header check-standin check-goal check-asan check-ubsan \
        check-sanitizers check-compilers check-clang check-elsewhere check-minimal check-tsan tsan-run check-valgrind tidy fuzz

check: ## run the whole test suite (installs what is missing first)
	@tools/setup.sh --quiet
	@$(MAKE) --no-print-directory -j$(JOBS) check-run

check-run: all $(TEST_PROGRAMS) $(CUDA_HOST_PROGRAMS) $(CUDA_HOST_PLUGIN) $(FUZZ_REPLAY) $(GOLDEN_PROGRAM) check-symbols \
           check-isa-leak check-header check-standin check-goal check-curand
	$(if $(CUDA_HOST_SKIP),@echo "$(CUDA_HOST_SKIP)")
	@tests/run.sh $(BUILD) $(GOLDEN) $(TEST_PROGRAMS) $(CUDA_HOST_PROGRAMS)

check-golden: ## compare with outside truth: GOLDEN=dir (installs what is missing first)
	@tools/setup.sh --quiet
	@$(MAKE) --no-print-directory -j$(JOBS) golden-run

golden-run: $(GOLDEN_PROGRAM)
	@$(GOLDEN_PROGRAM) $(GOLDEN)

check-symbols: $(SHARED) ## exported symbols = tests/capi/symbols.txt
	@nm -D --defined-only $(SHARED) | awk '$$2 ~ /[TDBRV]/ && $$3 !~ /^(_init|_fini|__.*)$$/ {print $$3}' | LC_ALL=C sort > $(BUILD)/symbols.txt
	@diff -u tests/capi/symbols.txt $(BUILD)/symbols.txt && echo "exported symbols: as listed"
	@sed -n '/^EQUINV_API/{s/.*\(equinv_[a-z0-9_]*\)(.*/\1/p}' $(HEADER) | LC_ALL=C sort | diff -u - tests/capi/symbols.txt && echo "declared in the header: the same"

# Instructions above the base level may stand in cpu/isa alone (the base of x86-64 is SSE2).
check-isa-leak: $(STATIC) ## no vector instructions above the base level outside cpu/isa
	@bad=; for o in $(filter-out $(BUILD)/obj/cpu/isa/%,$(LIB_OBJECTS)); do \
	    objdump -d --no-show-raw-insn $$o | grep -qE '%[yz]mm' && bad="$$bad $$o"; done; \
	if [ -n "$$bad" ]; then echo "vector instructions above the base level in:$$bad"; exit 1; fi; \
	echo "instruction sets: clean outside cpu/isa"

check-header: ## the public header as C11 and as C++17, pedantic; every declaration documented
	@awk '/\*\/[[:space:]]*$$/ {documented = NR} /^EQUINV_API/ && documented != NR - 1 {print FILENAME ":" FNR ": no comment directly above"; bad = 1} END {exit bad}' $(HEADER)
	@printf '#include "equinv/equinv.h"\nint main(void) { return 0; }\n' > $(BUILD)/header.c
	@cp $(BUILD)/header.c $(BUILD)/header.cpp
	@$(CC) -std=c11 -Wall -Wextra -Wpedantic -Werror -Iinclude -c $(BUILD)/header.c -o $(BUILD)/header.o
	@if command -v g++ >/dev/null; then g++ -std=c++17 -Wall -Wextra -Wpedantic -Werror -Iinclude -c $(BUILD)/header.cpp -o $(BUILD)/header.o; fi
	@echo "header: C11 and C++17"

check-goal: ## make alone builds everything
	@if [ "$(.DEFAULT_GOAL)" != all ]; then echo "make alone builds $(.DEFAULT_GOAL), not all"; exit 1; fi
	@echo "make alone: all"

# What a build without Check lacks would else show in check-minimal alone.
check-standin: ## the stand-in for Check has what the tests use
	@lacks=$$(git grep -ohE '\<ck_(assert|abort)[a-z_]*' -- 'tests/*.c' 'tests/*.h' | sort -u | while read -r word; do \
	    grep -qE "define $$word\>" tests/util/standin.h || echo "$$word"; done); \
	if [ -n "$$lacks" ]; then echo "tests/util/standin.h has no" $$lacks; exit 1; fi; \
	echo "stand-in for Check: as the tests need it"

# Sanitizers and second compilers see the kernels in the host's plugin; nvcc's would be the same again.
# With the sanitizers' code between a function's own, gcc sees variables unset that are not: no error.
sanitized = @$(MAKE) --no-print-directory CUDA=0 BUILD=$(BUILD)/$(1) SANITIZE=$(2) WERROR=0 CFLAGS="-O1 -g" -j$(JOBS) check-run
check-asan: ## the suite under the address sanitizer
	$(call sanitized,asan,address)

check-ubsan: ## the suite under the undefined-behaviour sanitizer
	$(call sanitized,ubsan,undefined)

comma := ,
check-sanitizers: ## the suite under both at once
	$(call sanitized,sanitizers,address$(comma)undefined)

# Another processor, as far as this machine's headers go: every source but those of cpu/isa's other levels
# must be accepted without x86. The shims are for glibc's x86 headers alone.
ELSEWHERE := --target=aarch64-linux-gnu -I$(BUILD)/elsewhere -isystem /usr/include/$(shell $(CC) -dumpmachine) \
             '-D__regparm__(x)=' -Wno-void-pointer-to-int-cast
ELSEWHERE_SOURCES = $(filter-out $(foreach level,$(filter-out scalar,$(ISA_LEVELS)),cpu/isa/$(level)/%),$(LIB_SOURCES))
check-elsewhere: ## the library's sources for a processor that is not x86: no error, no warning
	@if command -v clang >/dev/null; then \
	    mkdir -p $(BUILD)/elsewhere/gnu && : > $(BUILD)/elsewhere/gnu/stubs-32.h && \
	    clang -fsyntax-only -Werror $(filter-out -Werror -fsanitize%,$(BASE_FLAGS)) $(INCLUDES) $(ELSEWHERE) $(ELSEWHERE_SOURCES) && \
	    echo "aarch64: $(words $(ELSEWHERE_SOURCES)) sources without x86"; \
	else echo "SKIP aarch64: clang is not installed"; fi

check-compilers: check-clang ## zero warnings with gcc and clang
	@$(MAKE) --no-print-directory BUILD=$(BUILD)/gcc CC=gcc WERROR=1 -j$(JOBS) all cuda-host

check-clang: check-elsewhere ## zero warnings with clang
	@if command -v clang >/dev/null; then $(MAKE) --no-print-directory CUDA=0 BUILD=$(BUILD)/clang CC=clang WERROR=1 -j$(JOBS) all cuda-host; \
	else echo "SKIP clang: not installed"; fi

# Threads: the library's own pool and GEMM, and work too small for threads in normal life shared out too.
# Programs that test no threads are left out; random problems are a tenth.
TSAN_ABSENT := bench cli cli_interrupted cli_project cli_report cli_train experiments golden_runner golden_runner_broken \
               golden_runner_kinds molecules_program
TSAN_PROGRAMS := $(foreach p,$(filter $(BUILD)/tests/unit/% $(BUILD)/tests/ops/%,$(TEST_PROGRAMS)),$(if $(filter $(TSAN_ABSENT),$(notdir $(p))),,$(p)))
check-tsan: ## the suite under the thread sanitizer, with the library's own pool
	@if printf 'int main(void) { return 0; }' | $(CC) -fsanitize=thread -x c - -o $(BUILD)/tsan-try 2>/dev/null && $(BUILD)/tsan-try; then \
	    $(MAKE) --no-print-directory CUDA=0 BUILD=$(BUILD)/tsan PTHREADPOOL=0 OPENBLAS=0 SANITIZE=thread CFLAGS="-O1 -g" \
	        CPPFLAGS=-DEQI_WORTH_A_THREAD=1 -j$(JOBS) tsan-run; \
	else echo "SKIP tsan: $(CC) has no thread sanitizer that runs here"; fi
tsan-run: $(TSAN_PROGRAMS)
	@EQUINV_TEST_SHARE=10 tests/run.sh $(BUILD) none $(TSAN_PROGRAMS)

# No AVX-512 in valgrind; one process, so that its leak report is about the whole program. (Not unit/files:
# valgrind rounds twice where the processor takes a 64-bit integer to float.) Tables of groups stay until
# the process ends and are reachable, so not lost.
VALGRIND_NAMES := $(patsubst tests/%.c,%,$(wildcard $(addprefix tests/ops/,batch_norm*.c node_linear*.c pool*.c))) \
                  ops/conv_gfourier ops/conv ops/dense ops/group_table ops/losses_masked ops/node_layers ops/orbit \
                  ops/projection ops/projection_rows unit/extract unit/gemm unit/model unit/model_file unit/model_layers \
                  unit/optimizer unit/projection_file unit/safetensors
VALGRIND := valgrind -q --leak-check=full --errors-for-leak-kinds=definite,indirect --show-leak-kinds=definite,indirect \
            --error-exitcode=9
check-valgrind: $(VALGRIND_NAMES:%=$(BUILD)/tests/%) ## reads of what was never set, and leaks, in some test programs
	@if command -v valgrind >/dev/null; then \
	    EQUINV_ISA=avx2 EQUINV_TEST_SHARE=3 CK_FORK=no TEST_RUNNER="$(VALGRIND)" tests/run.sh $(BUILD) none $(VALGRIND_NAMES:%=$(BUILD)/tests/%); \
	else echo "SKIP valgrind: not installed (Debian: valgrind)"; fi

# One result for each source, looked at again when its object is newer.
TIDY_SOURCES := $(LIB_SOURCES) $(BENCH_SOURCES) $(sort $(wildcard tools/*.c examples/*.c examples/*/*.c))
tidy: ## clang-tidy's findings in library, programs and examples: there must be none
	@if command -v clang-tidy >/dev/null; then \
	    $(MAKE) --no-print-directory -k -j$(JOBS) $(sort $(TIDY_SOURCES:%.c=$(BUILD)/tidy/%.ok)) && echo "tidy: clean"; \
	else echo "SKIP tidy: clang-tidy is not installed (Debian: clang-tidy)"; fi

$(BUILD)/tidy/%.ok: $(BUILD)/obj/%.o .clang-tidy
	$(call say,TIDY,$*.c)
	@mkdir -p $(@D)
	$(Q)clang-tidy --quiet $*.c -- $(BASE_FLAGS) $(LIB_DEFINES) $(call extra_flags,$*.c) $(INCLUDES) $(CPPFLAGS) 2>$@.log || { cat $@.log; false; }
	@touch $@

check-minimal: ## build and test with libc alone, without a warning
	@$(MAKE) --no-print-directory CUDA=0 BUILD=$(BUILD)/minimal OPENBLAS=0 PTHREADPOOL=0 CJSON=0 ZLIB=0 CHECK=0 ONEDNN=0 WERROR=1 -j$(JOBS) check-run

FUZZ_SECONDS ?= 60
FUZZ_CC ?= clang
FUZZ_BUILD := $(BUILD)/fuzz
FUZZ_NAMES := $(FUZZ_SOURCES:tests/fuzz/fuzz_%.c=%)
FUZZ_RUN := tests/fuzz/run.sh $(FUZZ_BUILD) $(FUZZ_CC) $(FUZZ_SECONDS) "$(LIB_LIBS)"
fuzz: ## look for inputs that break the file readers, FUZZ_SECONDS=60 a target
	@if ! $(FUZZ_RUN); then \
	    echo "SKIP fuzz: $(FUZZ_CC) has no fuzzer (Debian: clang libclang-rt-14-dev)"; \
	else \
	    $(MAKE) -s --no-print-directory BUILD=$(FUZZ_BUILD) CC=$(FUZZ_CC) CFLAGS="-O1 -g" \
	        SANITIZE=fuzzer-no-link,address $(FUZZ_BUILD)/lib/libequinv.a \
	        $(FUZZ_NAMES:%=$(FUZZ_BUILD)/obj/tests/fuzz/fuzz_%.o) && \
	    $(FUZZ_RUN) $(FUZZ_NAMES); \
	fi
