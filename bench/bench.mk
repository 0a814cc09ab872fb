# The benchmark's generated parts and its targets.

# Named cases as one string literal, so that the program knows them in any folder.
CASE_FILES := $(sort $(wildcard bench/cases/*.txt))
$(BUILD)/gen/bench_cases.inc: $(CASE_FILES)
	@mkdir -p $(@D)
	$(Q)sed -e 's/[\\"]/\\&/g' -e 's/.*/"&\\n"/' $^ > $@
$(BUILD)/obj/bench/cases.o: $(BUILD)/gen/bench_cases.inc

# The commit stands above every table; the object that prints it is built again when it changes.
COMMIT := $(shell git describe --always --dirty --abbrev=12 2>/dev/null || echo unknown)
COMMIT_FILE := $(BUILD)/gen/bench_commit.inc
$(shell mkdir -p $(BUILD)/gen && printf '"%s"\n' '$(COMMIT)' | cmp -s - $(COMMIT_FILE) || printf '"%s"\n' '$(COMMIT)' > $(COMMIT_FILE))
$(BUILD)/obj/bench/header.o: $(COMMIT_FILE)
BENCH_DEFINES += -I$(BUILD)/gen

# Peers are compiled as their users would.
$(BUILD)/obj/bench/peer_%.o: override CFLAGS += -O3
$(BUILD)/obj/bench/peer_cu%.o $(BUILD)/obj/bench/peer_gpu.o: BENCH_DEFINES += $(TOOLKIT_FLAGS)
$(BUILD)/obj/bench/peer_std_cxx.o: bench/peer_std.cpp $(FLAGS_FILE)
	$(call say,CXX,$<)
	@mkdir -p $(@D)
	$(Q)$(CXX) -std=c++17 -Wall -Wextra -fPIC -fno-exceptions -fno-rtti $(if $(SANITIZE),-fsanitize=$(SANITIZE)) \
	    $(if $(filter 1,$(WERROR)),-Werror) $(CPPFLAGS) $(CFLAGS) -MMD -MP -c $< -o $@

.PHONY: bench-build
bench-build: ## equinv-bench with everything it can be compared with (installs what is missing)
	@tools/setup.sh --bench
	@$(MAKE) --no-print-directory -j$(JOBS) $(BUILD)/bin/equinv-bench

.PHONY: bench
bench: $(BUILD)/bin/equinv-bench ## time the named cases on the CPU beside the peers there are: table, and $(BUILD)/bench/cpu.json
	@mkdir -p $(BUILD)/bench && rm -f $(BUILD)/bench/cpu.json
	@$(BUILD)/bin/equinv-bench perf --cases bench/cases/cpu.txt --peer all --json $(BUILD)/bench/cpu.json

.PHONY: bench-check
bench-check: $(BUILD)/bin/equinv-bench ## every implementation of convolution against the reference on many shapes, minutes
	@$(BUILD)/bin/equinv-bench check --cases bench/cases/conv.txt --impl all --check-seconds 0.2
