# The two commands of the README, `make demo` and `make test`, install what they need (bun and the
# development dependencies), build the native libraries and run.
#
#   make             the native libraries, into build/
#   make demo        the example gateway on real files; TRACE=FILE replays another trace
#   make test        every test
#   make bench       speed and packing beside other allocators, and the gateway under load;
#                    TRACES=FOLDER packs its RMM logs too
#   make gpu-check   everything that needs a real GPU, without network; one report of all of it
#   make gpu-check-rehearsal
#                    the same on the simulator, where nothing is installed and no network is
#   make check       formatters, type check, linter, layers, and stricter warnings for the C code
#   make check-c     the C code's own tests under AddressSanitizer, UndefinedBehaviorSanitizer and
#                    ThreadSanitizer, with gcc or clang
#   make fuzz        random calls of the pool, steered by coverage (needs clang), for a minute;
#                    FUZZ_SECONDS=0 until it is stopped
#   make storm       random operations on several Workers, on the simulator, for a minute;
#                    STORM_SECONDS=3600 for an hour; storm/options.ts has the other variables
#   make package     what `bun pm pack` packs besides the sources: the libraries for x64 and arm64
#                    (needs gcc for both: on Debian for x64, gcc-aarch64-linux-gnu), JavaScript, types;
#                    packing does so for those that there is a gcc for, publishing only for both
#   make test-package
#                    packs, and tries the package as its users do
#   make docs        the API reference, into build/docs
#   make format      what the formatters can repair
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
# A request crosses from one file to another twice: inlining across them is worth 6% of a pair. gcc
# divides a program of this size in two and inlines less between them, which is 7% of a manager's pair;
# clang has no such option. Left out where the compiler and the linker do not agree on it.
LTO := $(shell for lto in '-flto -flto-partition=one' -flto; do \
         echo 'int main(void) { return 0; }' | \
           $(CC) -O2 -Werror $$lto -x c - -o /dev/null 2>/dev/null && echo "$$lto" && break; \
         done)

WARNINGS := -Wall -Wextra -Werror
# What `make check` asks of the C code beyond the build.
STRICT_WARNINGS := -Wpedantic -Wshadow -Wstrict-prototypes -Wmissing-prototypes -Wvla -Wcast-align
# Those without which the libraries would not be the same, for whoever else builds them too.
OPTIONS  := $(shell cat c/cc-options)
CFLAGS   := $(OPTIONS) -g $(LTO) $(WARNINGS)

# Parts of the C library itself, in libraries of their own before glibc 2.34.
LDLIBS   := -ldl -lpthread

# nvcc only drives the host compiler here: nothing of CUDA is linked.
comma := ,
empty :=
space := $(empty) $(empty)
ifdef NVCC
LINK_LIBRARY = $(NVCC) -x c -cudart none -shared -Xcompiler $(subst $(space),$(comma),$(strip $(CFLAGS) $(INCLUDES)))
else
LINK_LIBRARY = $(CC) -shared $(CFLAGS) $(INCLUDES)
endif

POOL_LIBRARY      := build/libbun_cuda_memory.so
SIMULATOR_LIBRARY := build/libcudart_sim.so
POOL_SOURCES      := $(wildcard c/*.c c/*/*.c)
SIMULATOR_SOURCES := $(wildcard simulator/*/*.c)

# How long `make fuzz` takes, in seconds, and the clang that it takes.
FUZZ_SECONDS := 60
CLANG        := clang

.PHONY: all demo test bench gpu-check gpu-check-rehearsal check check-c fuzz storm package test-package docs
.PHONY: format clean
all: $(POOL_LIBRARY) $(SIMULATOR_LIBRARY)

$(POOL_LIBRARY): $(POOL_SOURCES) $(wildcard c/*.h c/*/*.h) c/cc-options Makefile
$(SIMULATOR_LIBRARY): $(SIMULATOR_SOURCES) $(wildcard simulator/*.h simulator/*/*.h) c/cc-options Makefile

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
	$(BUN) demo/main.ts $(if $(TRACE),--trace $(TRACE))

test: all node_modules/.installed
	$(BUN) test

bench: all node_modules/.installed
	$(BUN) bench/main.ts $(if $(TRACES),--traces $(TRACES))

# Nothing is installed for it but bun, where none is given and none is on the PATH.
gpu-check: | $(BUN)
	$(BUN) gpu-check/main.ts $(GPU_CHECK_OPTIONS)

gpu-check-rehearsal: | $(BUN)
	BUN=$(BUN) gpu-check/rehearse.sh

# The libraries that are packed. They name libdl and libpthread, which the newer glibc that they are
# linked with has no more use for: an older one has there what a newer one has in libc.
OLDEST_GLIBC       := 2.28
RELEASE_CFLAGS     := $(OPTIONS) -include packaging/old_glibc.h -flto -flto-partition=one -s $(WARNINGS)
RELEASE_LDLIBS     := -Wl,--no-as-needed -l:libdl.so.2 -l:libpthread.so.0
RELEASE_FOLDERS    := prebuilt/linux-x64 prebuilt/linux-arm64
POOL_RELEASES      := $(RELEASE_FOLDERS:%=%/libbun_cuda_memory.so)
SIMULATOR_RELEASES := $(RELEASE_FOLDERS:%=%/libcudart_sim.so)

# Includes are relative to the folder of each product's sources.
$(POOL_LIBRARY) $(POOL_RELEASES): INCLUDES := -iquote c
$(SIMULATOR_LIBRARY) $(SIMULATOR_RELEASES): INCLUDES := -iquote simulator

$(POOL_RELEASES): $(POOL_SOURCES) $(wildcard c/*.h c/*/*.h) c/cc-options Makefile
$(SIMULATOR_RELEASES): $(SIMULATOR_SOURCES) $(wildcard simulator/*.h simulator/*/*.h) packaging/old_glibc.h c/cc-options Makefile
prebuilt/linux-x64/%: TRIPLET := x86_64-linux-gnu
prebuilt/linux-arm64/%: TRIPLET := aarch64-linux-gnu

prebuilt/%.so:
	@mkdir -p $(@D)
	$(TRIPLET)-gcc -shared $(RELEASE_CFLAGS) $(INCLUDES) $(filter %.c,$^) $(RELEASE_LDLIBS) -o $@.$$$$ && \
	  OBJDUMP=$(TRIPLET)-objdump packaging/check-glibc.sh $(OLDEST_GLIBC) $@.$$$$ && \
	  mv $@.$$$$ $@ || { rm -f $@.$$$$; exit 1; }

dist/index.js: $(shell find src -name '*.ts') tsconfig.json tsconfig.build.json node_modules/.installed
	rm -rf dist
	$(BUN) x --bun tsc -p tsconfig.build.json

package: $(POOL_RELEASES) $(SIMULATOR_RELEASES) dist/index.js

# What needs a TypeScript older than the package's own.
tools/node_modules/.installed: tools/package.json tools/bun.lock | $(BUN)
	$(BUN) install --frozen-lockfile --cwd tools
	@touch $@

test-package: all node_modules/.installed tools/node_modules/.installed
	rm -rf build/tarball
	BUN='$(BUN)' $(BUN) pm pack --quiet --destination build/tarball
	folder=$$(mktemp -d); TMPDIR=$$folder $(BUN) test --path-ignore-patterns= --timeout 120000 ./test/package; status=$$?; rm -rf $$folder; exit $$status

check: node_modules/.installed
	$(BUN) fmt --check
	scripts/format-c.sh --check
	$(BUN) scripts/check-c-layers.ts
	$(BUN) check
	$(BUN) x --bun oxlint --deny-warnings
	$(CC) $(CFLAGS) $(STRICT_WARNINGS) -fsyntax-only -iquote c $(POOL_SOURCES)
	$(CC) $(CFLAGS) $(STRICT_WARNINGS) -fsyntax-only -iquote simulator $(SIMULATOR_SOURCES)

docs: node_modules/.installed tools/node_modules/.installed
	$(BUN) tools/node_modules/typedoc/bin/typedoc
	$(BUN) scripts/check-examples.ts build/docs/api.json

check-c:
	CC='$(CC)' test/c/check.sh

fuzz:
	FUZZ_SECONDS=$(FUZZ_SECONDS) CLANG='$(CLANG)' test/c/fuzz.sh

storm: all | $(BUN)
	$(BUN) storm/main.ts

format: node_modules/.installed
	$(BUN) fmt
	scripts/format-c.sh

clean:
	rm -rf build dist prebuilt node_modules tools/node_modules
