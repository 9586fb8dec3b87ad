#!/usr/bin/env bash
# Runs every line that starts with "$ " in README.md's console blocks, in order, in a shell at the project's root: what the README
# shows must work. The two set-up commands have been run before.
set -euo pipefail
cd "$(dirname "${BASH_SOURCE[0]}")/.."
# shellcheck disable=SC2016 # the dollar is the README's prompt
commands=$(sed -n '/^```console$/,/^```$/s/^\$ //p' README.md | grep -v '^scripts/\(demo\|test\)\.sh')
[ "$(wc -l <<<"$commands")" -ge 5 ] || { echo "README.md shows no commands" >&2; exit 1; }
work=$(mktemp -d)
trap 'rm -rf "$work"' EXIT
cp -r build models tests scripts "$work"
cd "$work"
export PATH=$PWD/build:$PATH
while IFS= read -r line; do
  echo "\$ $line"
  bash -euo pipefail -c "$line" </dev/null
done <<<"$commands"
