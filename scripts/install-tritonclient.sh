#!/usr/bin/env bash
# Puts NVIDIA's client of the KServe protocol into build/, from PyPI, for the test that tries the
# example gateway with it. Without it that test is skipped, and says so.
set -euo pipefail
cd "$(dirname "$0")/.."

version=2.73.0
installed=build/tritonclient

[ "$(cat "$installed/version" 2>/dev/null)" = "$version" ] && exit
rm -rf "$installed"
python3 -m pip install --quiet --target "$installed" "tritonclient[http]==$version"
echo "$version" >"$installed/version"
