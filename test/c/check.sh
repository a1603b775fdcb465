#!/usr/bin/env bash
# Builds the C tests with sanitizers and runs them. It prints a line for each program, and at the
# end the sum of all.
#
#   CC=gcc         the compiler that is tried first; clang and gcc come after it
#   CHECK_SEED=n   the seed of other random numbers
set -uo pipefail
cd "$(dirname "$0")/../.."

build=build/check-c
results=$build/results

# Programs with threads run under ThreadSanitizer too, which would find nothing in the others.
threaded='memory/byte_copy memory/ended_owners memory/fallback_warnings memory/nonpinned_limit memory/stream_errors memory/stream_ordered_frees memory/stream_ordered_full memory/stream_ordered_reuse
  memory/stream_ordered_several memory/stream_ordered_threads memory/streams_and_resets memory/threads memory/waiting
  pool/accounts pool/lock pool/threads'
# Every source of memory/ and pool/ is a program; the fuzzer alone is built by fuzz.sh.
programs=$(cd test/c && ls memory/*.c pool/*.c | sed -n 's/\.c$//p' | grep -vx pool/fuzz)

flags='-std=c11 -D_GNU_SOURCE -O1 -g -fno-omit-frame-pointer -pthread -Wall -Wextra -Werror
  -fvisibility=hidden
  -iquote c -iquote simulator -iquote test/c/support -iquote .'
# The functions of the system that failing_calls.c can make fail.
failing_calls='-Wl,--wrap=malloc,--wrap=mmap,--wrap=munmap,--wrap=mprotect,--wrap=posix_memalign'
failing_calls+=',--wrap=tsearch'

export ASAN_OPTIONS=detect_leaks=1:detect_stack_use_after_return=1:strict_string_checks=1
export UBSAN_OPTIONS=print_stacktrace=1
export TSAN_OPTIONS=halt_on_error=1

# choose_tools SANITIZERS DIRECTORY: sets `compiler` to the first whose programs run, and `launcher`
# to the command that they are run by. Older sanitizers fail in the randomized address spaces of
# newer kernels.
choose_tools() {
  local trial=$2/trial
  echo 'int main(void) { return 0; }' >"$trial.c"
  for compiler in "${CC:-cc}" clang gcc; do
    command -v "$compiler" >/dev/null || continue
    "$compiler" -fsanitize="$1" "$trial.c" -o "$trial" 2>/dev/null || continue
    for launcher in '' 'setarch --addr-no-randomize'; do
      { $launcher "$trial"; } >/dev/null 2>&1 && return
    done
  done
  cat >&2 <<MESSAGE
No compiler here builds programs with -fsanitize=$1 that run.
Install gcc with its sanitizers (libasan, libubsan and libtsan: Debian's gcc brings them, Fedora has
them in packages of these names), or clang and its runtime (Debian: clang and libclang-rt-dev, or
libclang-rt-14-dev for clang 14; Fedora: clang and compiler-rt).
MESSAGE
  return 1
}

# compile KIND SOURCE...: compiles the sources into a folder of their own.
compile() {
  local kind=$1 source
  shift
  mkdir -p "$directory/$kind"
  for source; do
    "${command[@]}" -c "$source" -o "$directory/$kind/$(basename "$source" .c).o" || return 1
  done
}

# The library and the simulator are two programs' worth of names, which meet in the tests alone: here
# the simulator keeps for itself what it does not export.
hide_simulator_names() {
  ld -r "$directory"/simulator/*.o -o "$directory/simulator.o" &&
    objcopy --localize-hidden "$directory/simulator.o"
}

# link PROGRAM: programs in memory/ get the simulator, and those named *faults get failing calls.
link() {
  local objects=("$directory"/library/*.o) extra=() object
  [[ $1 == memory/* ]] && objects+=("$directory/simulator.o")
  for object in "$directory"/support/*.o; do
    case $(basename "$object" .o) in
    failing_calls)
      [[ $1 == *faults ]] || continue
      extra+=("$failing_calls")
      ;;
    held_stream | simulated_cuda | stream_fixture)
      [[ $1 == memory/* ]] || continue
      ;;
    esac
    objects+=("$object")
  done
  mkdir -p "$directory/$(dirname "$1")"
  # Exported, so that the library can be bound to the simulator by the names of its functions.
  "${command[@]}" -rdynamic "test/c/$1.c" "${objects[@]}" "${extra[@]}" \
    -ldl -lpthread -o "$directory/$1"
}

# run PROGRAM: prints its line and adds it to the results.
run() {
  local name="$1 ($sanitizers)" log=$directory/$1.log start=$SECONDS passed status
  { timeout 300 $launcher "$directory/$1" >"$log" 2>&1 </dev/null; } 2>/dev/null
  status=$?
  if [ "$status" -eq 0 ]; then
    passed=$(sed -n 's/^\([0-9]*\) passed$/\1/p' "$log")
    printf '%-50s %2d passed in %d s\n' "$name" "${passed:-0}" $((SECONDS - start))
    echo "${passed:-0} 0" >>"$results"
  else
    printf '%-50s FAILED with status %d in %d s, %s:\n%s\n' "$name" "$status" \
      $((SECONDS - start)) "$log" "$(tail -n 60 "$log")"
    echo '0 1' >>"$results"
  fi
}

# check SANITIZERS PROGRAM...: builds and runs them.
check() {
  local sanitizers=$1 directory=$build/$1 compiler launcher program
  shift
  mkdir -p "$directory"
  choose_tools "$sanitizers" "$directory" || {
    echo '0 1' >>"$results"
    return
  }
  local command=("$compiler" $flags "-fsanitize=$sanitizers" -fno-sanitize-recover=all)
  compile library c/*.c c/*/*.c && compile support test/c/support/*.c &&
    compile simulator simulator/*/*.c && hide_simulator_names || {
    echo '0 1' >>"$results"
    return
  }
  for program; do
    if link "$program"; then run "$program"; else echo '0 1' >>"$results"; fi
  done
}

rm -rf "$build"
mkdir -p "$build"
: >"$results"

# Both run at once, because every machine today has at least two processors.
check address,undefined $programs &
check thread $threaded &
wait

awk '{ passed += $1; failed += $2 } END {
  printf "%d passed, %d failed\n", passed, failed
  exit failed > 0 || passed == 0
}' "$results"
