#!/usr/bin/env bash
# Installs what a Debian 12 machine lacks for building mien, then builds it (Release) into build/. Used by demo.sh and test.sh.
set -euo pipefail
cd "$(dirname "${BASH_SOURCE[0]}")/.."

packages=(cmake ninja-build gcc pkg-config protobuf-c-compiler libprotobuf-c-dev libpng-dev
  libjpeg62-turbo-dev libxxhash-dev libcjson-dev libssl-dev libcmocka-dev "$@")

missing=()
for package in "${packages[@]}"; do
  dpkg-query -W -f '${db:Status-Status}' "$package" 2>/dev/null | grep -qx installed || missing+=("$package")
done
if [ ${#missing[@]} -gt 0 ]; then
  if [ "$(id -u)" -ne 0 ]; then
    echo "mien needs packages that are not installed. Run this, then start again:" >&2
    echo "  sudo apt-get update && sudo apt-get install -y --no-install-recommends ${missing[*]}" >&2
    exit 1
  fi
  echo "installing ${missing[*]}" >&2
  export DEBIAN_FRONTEND=noninteractive
  apt-get update -qq >&2
  apt-get install -y -qq --no-install-recommends "${missing[@]}" >/dev/null
fi

log=$(mktemp)
trap 'rm -f "$log"' EXIT
if ! { cmake --preset release && cmake --build build; } >"$log" 2>&1; then
  cat "$log" >&2
  echo "the build failed" >&2
  exit 1
fi
