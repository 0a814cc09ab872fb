# Flags for every C file. Kernel folders add theirs in cpu/isa/<level>/flags.mk.
CFLAGS ?= -O2 -g
WARNINGS := -Wall -Wextra -Wshadow -Wconversion -Wstrict-prototypes -Wmissing-prototypes -Wvla \
            -Wpointer-arith -Wwrite-strings -Wundef -Wdouble-promotion
# No contraction: results must not depend on whether the compiler found an fma. No -ffast-math, ever.
BASE_FLAGS := -std=c11 -D_POSIX_C_SOURCE=200809L -fPIC -fvisibility=hidden -fno-math-errno \
              -ffp-contract=off -pthread $(WARNINGS)
SANITIZE ?=
ifneq ($(SANITIZE),)
BASE_FLAGS += -fsanitize=$(SANITIZE) -fno-sanitize-recover=all -fno-omit-frame-pointer
LINK_FLAGS += -fsanitize=$(SANITIZE)
endif
WERROR ?= 0
ifeq ($(WERROR),1)
BASE_FLAGS += -Werror
endif
