# The two commands of the README, `make demo` and `make test`, install what they need (bun and the
# development dependencies), build the native libraries and run.
#
#   make             the native libraries, into build/
#   make demo        the example service on real files; TRACE=FILE replays another trace
#   make test        every test
#   make bench       speed and packing beside other allocators, and the service under load;
#                    TRACES=FOLDER packs its RMM logs too
#   make check       formatter, type check, linter, and stricter warnings for the C code
#   make check-c     the C code's own tests under AddressSanitizer, UndefinedBehaviorSanitizer and
#                    ThreadSanitizer, with gcc or clang
#   make fuzz        random calls of the pool, steered by coverage (needs clang), for a minute;
#                    FUZZ_SECONDS=0 until it is stopped
#   make format      what the formatter can repair
#   make clean
#
# BUN=/path/to/bun uses that bun; otherwise the one on the PATH, otherwise one from npm in build/.

BUN_VERSION := $(shell sed -n 's/.*"packageManager": "bun@\([^"]*\)".*/\1/p' package.json)
NPM_BUN     := build/bun/node_modules/bun/bin/bun.exe
FOUND_BUN   := $(shell command -v $(or $(BUN),bun))
ifneq ($(BUN),)
ifeq ($(FOUND_BUN),)
$(error BUN=$(BUN) is not a program)
endif
endif
override BUN := $(or $(FOUND_BUN),$(CURDIR)/$(NPM_BUN))

NVCC     := $(shell command -v nvcc)
# A request crosses from one file to another twice: inlining across them is worth 6% of a pair.
# Left out where the compiler and the linker do not agree on it.
LTO_TRIAL := $(shell echo 'int main(void) { return 0; }' | \
               $(CC) -O2 -flto -x c - -o /dev/null 2>/dev/null && echo yes)
ifeq ($(LTO_TRIAL),yes)
LTO := -flto
endif

WARNINGS := -Wall -Wextra -Werror
# What `make check` asks of the C code beyond the build.
STRICT_WARNINGS := -Wpedantic -Wshadow -Wstrict-prototypes -Wmissing-prototypes -Wvla -Wcast-align
CFLAGS   := -std=c11 -D_GNU_SOURCE -O2 -g -fPIC -fvisibility=hidden -pthread $(LTO) $(WARNINGS)

# Parts of the C library itself, in libraries of their own before glibc 2.34.
LDLIBS   := -ldl -lpthread

# nvcc only drives the host compiler here: nothing of CUDA is linked.
comma := ,
empty :=
space := $(empty) $(empty)
ifdef NVCC
LINK_LIBRARY = $(NVCC) -x c -cudart none -shared -Xcompiler $(subst $(space),$(comma),$(strip $(CFLAGS)))
else
LINK_LIBRARY = $(CC) -shared $(CFLAGS)
endif

POOL_LIBRARY      := build/libbun_cuda_memory.so
SIMULATOR_LIBRARY := build/libcudart_sim.so
POOL_SOURCES      := $(wildcard c/*.c)
SIMULATOR_SOURCES := $(wildcard c/cudart_sim/*.c)

# How long `make fuzz` takes, in seconds, and the clang that it takes.
FUZZ_SECONDS := 60
CLANG        := clang

.PHONY: all demo test bench check check-c fuzz format clean
all: $(POOL_LIBRARY) $(SIMULATOR_LIBRARY)

$(POOL_LIBRARY): $(POOL_SOURCES) $(wildcard c/*.h) Makefile
$(SIMULATOR_LIBRARY): $(SIMULATOR_SOURCES) $(wildcard c/cudart_sim/*.h) Makefile

# Built under another name and moved into place, so that a process that starts meanwhile never
# loads half a library.
build/%.so:
	@mkdir -p build
	$(LINK_LIBRARY) $(filter %.c,$^) $(LDLIBS) -o $@.$$$$ && mv $@.$$$$ $@ || { rm -f $@.$$$$; exit 1; }

$(CURDIR)/$(NPM_BUN):
	npm install --prefix build/bun --no-save --no-audit --no-fund --ignore-scripts --loglevel=error bun@$(BUN_VERSION)
	node build/bun/node_modules/bun/install.js

node_modules/.installed: package.json bun.lock | $(BUN)
	$(BUN) install --frozen-lockfile
	@touch $@

demo: all node_modules/.installed
	$(BUN) examples/demo.ts $(if $(TRACE),--trace $(TRACE))

test: all node_modules/.installed
	$(BUN) test

bench: all node_modules/.installed
	$(BUN) bench/main.ts $(if $(TRACES),--traces $(TRACES))

check: node_modules/.installed
	$(BUN) fmt --check
	$(BUN) check
	$(BUN) x --bun oxlint --deny-warnings
	$(CC) $(CFLAGS) $(STRICT_WARNINGS) -fsyntax-only $(POOL_SOURCES) $(SIMULATOR_SOURCES)

check-c:
	CC='$(CC)' test/c/check.sh

fuzz:
	FUZZ_SECONDS=$(FUZZ_SECONDS) CLANG='$(CLANG)' test/c/fuzz.sh

format: node_modules/.installed
	$(BUN) fmt

clean:
	rm -rf build node_modules
