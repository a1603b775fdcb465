#!/usr/bin/env bash
# Runs `make gpu-check` on the simulator as it will run on a GPU machine: from the sources alone,
# with a bun that is only given by path, nothing installed, and no network.
set -euo pipefail
cd "$(dirname "$0")/.."

bun=$(realpath "$BUN")
folder=$(mktemp -d)
trap 'rm -rf "$folder"' EXIT

mkdir "$folder/sources" "$folder/home" "$folder/traps"
git ls-files -z --cached --others --exclude-standard |
  tar --create --null --files-from=- --ignore-failed-read |
  tar --extract --directory "$folder/sources"

# A program that looks for one of these on the PATH finds a trap.
for program in bun bunx node npm npx; do
  printf '#!/bin/sh\necho "the check called %s" >&2\nexit 127\n' "$program" >"$folder/traps/$program"
  chmod +x "$folder/traps/$program"
done

# The loopback interface stays up, since the gateway is put under load.
loopback='ip link set lo up && exec "$@"'
if unshare --map-root-user --net sh -c "$loopback" sh true 2>/dev/null; then
  without_network=(unshare --map-root-user --net sh -c "$loopback" sh)
else
  echo 'The network cannot be cut off here; every proxy and registry leads nowhere instead.'
  without_network=(env http_proxy=http://127.0.0.1:9 https_proxy=http://127.0.0.1:9 no_proxy=127.0.0.1
    BUN_CONFIG_REGISTRY=http://127.0.0.1:9)
fi

# rehearse NAME DEVICES: runs the check once, on a simulated machine with these devices.
rehearse() {
  printf '\n---- %s\n' "$1"
  env --chdir="$folder/sources" --unset=BUN_CUDA_MEMORY_CUDART --unset=BUN_INSTALL_CACHE_DIR \
    HOME="$folder/home" XDG_CACHE_HOME="$folder/home" PATH="$folder/traps:$PATH" \
    CUDART_SIM_DEVICES="$2" BUN="$bun" "${without_network[@]}" \
    make gpu-check GPU_CHECK_OPTIONS='--rehearsal --quick'
  if [ -e "$folder/sources/node_modules" ]; then
    echo 'something was installed' >&2
    exit 1
  fi
  grep --quiet --fixed-strings "\"bunPath\": \"$bun\"" "$folder/sources/build/gpu-check.json"
}

rehearse 'a machine with one GPU' 9.0:85899345920
rehearse 'a machine with two GPUs, and one that is too old' \
  9.0:85899345920,8.0:85899345920,5.2:1073741824
