#!/usr/bin/env bash
# Builds the fuzz target of the pool and runs it, beginning with the inputs that earlier runs kept.
#
#   FUZZ_SECONDS=60   how long it runs; 0 lets it run until it is stopped
#   CLANG=clang       the compiler, which must be a clang: libFuzzer is a part of it
set -uo pipefail
cd "$(dirname "$0")/../.."

seconds=${FUZZ_SECONDS:-60}
clang=${CLANG:-clang}
corpus=build/fuzz-corpus
crashes=build/fuzz-crashes
target=build/fuzz-pool

give_up() {
  cat >&2 <<MESSAGE
$1
libFuzzer is a part of clang. Install clang and its runtime: on Debian and Ubuntu the packages clang
and libclang-rt-dev (with clang 14: libclang-rt-14-dev), on Fedora clang and compiler-rt.
CLANG=clang-15 names another clang.
MESSAGE
  exit 1
}

build_target() {
  local flags='-std=c11 -D_GNU_SOURCE -O1 -g -fno-omit-frame-pointer -Wall -Wextra -Werror
    -iquote c -iquote test/c/support -pthread -fno-sanitize-recover=all'
  local support=test/c/support
  # The model is compiled without coverage: the fuzzer is to cover the pool only.
  "$clang" $flags -fsanitize=address,undefined -c $support/pool_model.c -o build/pool_model.o &&
    "$clang" $flags -fsanitize=fuzzer,address,undefined \
      -fsanitize-coverage-ignorelist=test/c/pool/fuzz_uncovered.txt \
      test/c/pool/fuzz.c $support/{check,checked_pool}.c c/pool/*.c \
      build/pool_model.o -o "$target"
}

# Prints the input, the calls that it made, and how to run it again.
describe_failure() {
  printf '\n%s fails:\n' "$1"
  od -An -tx1 "$1"
  CHECK_TRACE=1 "$target" "$1" 2>&1 |
    grep -E '^(open|close|refuse|alloc|free|tag|owner)|: in "|does not hold|: Assertion |^SUMMARY|ERROR: ' |
    tail -n 60
  cat <<MESSAGE
again:   CHECK_TRACE=1 $target $1
smaller: $target -minimize_crash=1 -max_total_time=60 -exact_artifact_path=$1.small $1
MESSAGE
}

command -v "$clang" >/dev/null || give_up "There is no $clang here."
mkdir -p "$corpus" "$crashes"
build_target || give_up "$clang could not build the fuzz target; perhaps its runtime is missing."

# An input that failed once and does not fail any more is kept as one to begin with.
shopt -s nullglob
for failure in "$crashes"/*; do
  "$target" "$failure" >/dev/null 2>&1 && mv "$failure" "$corpus/"
done

# An input of 1 KiB is some hundred calls. The inputs' length may grow fast, because a pool gets
# into a complicated state only by many calls.
"$target" -max_total_time="$seconds" -max_len=1024 -len_control=5 -timeout=20 \
  -artifact_prefix="$crashes/" "$corpus" 2>&1 |
  grep --line-buffered -vE '^#[0-9]+\s+(NEW|REDUCE|RELOAD)|NEW_FUNC|^INFO: |Uses: |dictionary\. #'
status=${PIPESTATUS[0]}

failures=("$crashes"/*)
for failure in "${failures[@]}"; do describe_failure "$failure"; done
if [ "$status" -ne 0 ] || [ ${#failures[@]} -gt 0 ]; then
  echo 'fuzz: FAILED'
  exit 1
fi
echo "fuzz: no failure; $(find "$corpus" -type f | wc -l) inputs in $corpus"
