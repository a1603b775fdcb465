#!/usr/bin/env bash
# check-glibc.sh VERSION LIBRARY...: fails if a library asks for a symbol of a glibc newer than VERSION,
# so that it would not load with that one, or asks for none at all, so that nothing was checked.
set -euo pipefail

version=$1
shift
status=0
for library; do
  symbols=$("${OBJDUMP:-objdump}" -T "$library" | sed -nE 's/.*\(?GLIBC_([0-9.]+)\)? +(0x[0-9a-f]+ +)?(\S+)$/\1 \3/p')
  if [ -z "$symbols" ]; then
    echo "$library: no glibc symbols found" >&2
    status=1
  fi
  while read -r needed symbol; do
    newest=$(printf '%s\n%s\n' "$version" "$needed" | sort -V | tail -n 1)
    [ "$newest" = "$version" ] && continue
    echo "$library: $symbol needs glibc $needed, newer than $version; give packaging/old_glibc.h an older version of it" >&2
    status=1
  done <<<"$symbols"
done
exit $status
