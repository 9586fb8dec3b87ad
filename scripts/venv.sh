#!/bin/sh
# Creates .venv in the project's root with what scripts/requirements.txt pins; `venv.sh peers` creates .venv-peers with what
# scripts/requirements-peers.txt pins. Does nothing, silently, when that is done.
# PYTHON names the interpreter; python3.11 is taken otherwise.
set -eu

root=$(cd "$(dirname "$0")/.." && pwd)
suffix=${1:+-$1}
list=scripts/requirements$suffix.txt
name=.venv$suffix
requirements=$root/$list
venv=$root/$name
stamp=$venv/.requirements

fail() {
  echo "venv.sh: $*" >&2
  exit 1
}

[ -f "$requirements" ] || fail "no $list; usage: scripts/venv.sh [peers]"
python=${PYTHON:-python3.11}
command -v "$python" >/dev/null 2>&1 || fail "no $python on the path; install Python 3.11, or name one: PYTHON=... $0"
wanted=$("$python" --version 2>&1) || fail "$python does not run: $wanted"

if [ -x "$venv/bin/python" ] && [ -f "$stamp" ] && cmp -s "$stamp" "$requirements" &&
   "$venv/bin/python" -c 'import sys' 2>/dev/null; then
  exit 0
fi

# Two at once take turns; the second then finds the work done.
if [ -z "${MIEN_VENV_LOCKED:-}" ] && command -v flock >/dev/null 2>&1; then
  MIEN_VENV_LOCKED=1 exec flock "$requirements" "$0" "$@"
fi

log=$(mktemp)
trap 'rm -f "$log"' EXIT
echo "venv.sh: installing $list into $name ($wanted)"
rm -f "$stamp"
"$venv/bin/python" -c 'import sys' 2>/dev/null || "$python" -m venv --clear "$venv" ||
  fail "$python can't create $venv; on Debian that takes the package python3-venv"

if ! "$venv/bin/python" -m pip install --quiet --disable-pip-version-check -r "$requirements" >"$log" 2>&1; then
  grep -i '^error' "$log" >&2 || tail -n 5 "$log" >&2
  missing=$(sed -n 's/^ERROR: No matching distribution found for \([^ ]*\).*/\1/p' "$log" | head -n 1)
  fail "${missing:-a package of $list} can't be had; $name is incomplete"
fi
cp "$requirements" "$stamp"
