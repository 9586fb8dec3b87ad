#!/usr/bin/env bash
# From a fresh Debian 12 machine to an answer: installs what is missing, builds, converts a small POSTER-Var, runs it on a picture.
set -euo pipefail
cd "$(dirname "${BASH_SOURCE[0]}")/.."

scripts/setup.sh
work=$(mktemp -d)
trap 'rm -rf "$work"' EXIT
picture=${1:-models/pictures/astronaut.png}

say() { printf '\n$ %s\n' "$*"; "$@"; }
say build/mien convert models/poster_var_small/model.onnx -o "$work/poster_var_small.plan" --verify 2
say build/mien check "$work/poster_var_small.plan"
say build/mien run "$work/poster_var_small.plan" --input "image=$picture" --samples 2000 --seed 1
cat <<'TEXT'

The small network has the topology of POSTER-Var and random weights: its numbers are right, its emotions mean nothing.
A trained checkpoint: scripts/export.py --variant poster_var_rafdb7 --checkpoint FILE.pth -o model.onnx
TEXT
