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
BENCH_DEFINES := -I$(BUILD)/gen

.PHONY: bench
bench: $(BUILD)/bin/equinv-bench ## time the named cases on the CPU: table, and $(BUILD)/bench/cpu.json
	@mkdir -p $(BUILD)/bench && rm -f $(BUILD)/bench/cpu.json
	@$(BUILD)/bin/equinv-bench perf --cases bench/cases/cpu.txt --json $(BUILD)/bench/cpu.json
