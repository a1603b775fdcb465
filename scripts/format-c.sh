#!/usr/bin/env bash
# Formats the C and C++ sources, or checks that they are formatted.
#
#   format-c.sh            formats them
#   format-c.sh --check    fails, and names the lines, where one is not formatted
#   format-c.sh --install  puts the formatter into build/, from PyPI
#
# Other versions of clang-format decide some lines otherwise, so only the pinned one is used: the one
# in build/, or the one on the PATH if it has that version. Without it nothing is formatted, which is
# said, and is no failure.
set -euo pipefail
cd "$(dirname "$0")/.."

version=22.1.8
installed=build/clang-format/clang_format/data/bin/clang-format

find_formatter() {
  for formatter in "$installed" "$(command -v clang-format || true)"; do
    [ -x "$formatter" ] && "$formatter" --version | grep -qF "version $version" && return
  done
  return 1
}

if [ "${1:-}" = --install ]; then
  find_formatter || python3 -m pip install --quiet --no-deps --target build/clang-format --upgrade "clang-format==$version"
  find_formatter
  exit
fi

if ! find_formatter; then
  echo "format-c: clang-format $version is not here, so C is not looked at (scripts/format-c.sh --install)"
  exit
fi

mapfile -t sources < <(git ls-files --cached --others --exclude-standard '*.c' '*.h' '*.cpp' '*.hpp')
if [ "${1:-}" = --check ]; then
  "$formatter" --dry-run -Werror "${sources[@]}"
else
  "$formatter" -i "${sources[@]}"
fi
