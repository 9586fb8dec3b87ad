#!/usr/bin/env bash
# usage: packages.sh NAME...
# Installs the Debian packages that are missing; NAME:ARCHITECTURE for one of another architecture. Without root it prints the one
# command to run and ends with 1.
set -euo pipefail

missing=()
architectures=()
for package in "$@"; do
  dpkg-query -W -f '${db:Status-Status}' "$package" 2>/dev/null | grep -qx installed && continue
  missing+=("$package")
  case $package in *:*) architectures+=("${package##*:}") ;; esac
done
[ ${#missing[@]} -gt 0 ] || exit 0

mapfile -t architectures < <(printf '%s\n' "${architectures[@]}" | sort -u | grep .)
if [ "$(id -u)" -ne 0 ]; then
  echo "packages are missing. Run this, then start again:" >&2
  printf '  ' >&2
  for architecture in "${architectures[@]}"; do printf 'sudo dpkg --add-architecture %s && ' "$architecture" >&2; done
  echo "sudo apt-get update && sudo apt-get install -y --no-install-recommends ${missing[*]}" >&2
  exit 1
fi
echo "installing ${missing[*]}" >&2
export DEBIAN_FRONTEND=noninteractive
for architecture in "${architectures[@]}"; do dpkg --add-architecture "$architecture"; done
apt-get update -qq >&2
apt-get install -y -qq --no-install-recommends "${missing[@]}" >/dev/null
