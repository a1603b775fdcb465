#!/usr/bin/env bash
# prepack.sh [--all]: makes what is packed besides the sources, for each architecture that there is a
# compiler for. Says which are left out, and what would be needed; with --all, as for what is
# published, that is an error.
set -euo pipefail
cd "$(dirname "$0")/.."

folders=()
missing=()
for architecture in x64:x86_64:x86-64:amd64 arm64:aarch64:aarch64:arm64; do
  IFS=: read -r name triplet package libc <<<"$architecture"
  if command -v "$triplet-linux-gnu-gcc" >/dev/null && command -v "$triplet-linux-gnu-objdump" >/dev/null; then
    folders+=("prebuilt/linux-$name")
  else
    missing+=("linux-$name")
    echo "prepack: $triplet-linux-gnu-gcc is not there, which builds for linux-$name;" \
      "on Debian: apt-get install gcc-$package-linux-gnu libc6-dev-$libc-cross" >&2
  fi
done

if [ ${#folders[@]} -eq 0 ] || { [ ${#missing[@]} -gt 0 ] && [ "${1:-}" = --all ]; }; then
  echo "prepack: nothing is packed" >&2
  exit 1
fi
for platform in "${missing[@]}"; do
  # What an earlier build has left there may be of other sources.
  rm -rf "prebuilt/$platform"
  echo "prepack: the package is for ${folders[*]#prebuilt/} alone: on $platform it would be built from source" >&2
done
exec make package RELEASE_FOLDERS="${folders[*]}"
