#!/usr/bin/env bash
# Installs the build tree into a fresh prefix and uses it as a stranger would: find_package, pkg-config, a plugin against the installed
# header alone. usage: run.sh SOURCE BUILD
set -euo pipefail
source=$1 build=$2
work=$(mktemp -d)
trap 'rm -rf "$work"' EXIT
unset MIEN_PLUGIN_PATH
fail() { echo "FAILED: $*" >&2; exit 1; }

cmake --install "$build" --prefix "$work/prefix" >/dev/null
library=$(find "$work/prefix" -name libmien.so)
lib=$(dirname "$library")
plugins=$lib/mien/plugins
mien=$work/prefix/bin/mien

echo "- only mien_ symbols leave libmien.so and the plugin"
foreign=$(nm -D --defined-only "$library" | awk '$3 !~ /^mien_[a-z]/ {print $3}')
[ -z "$foreign" ] || fail "libmien.so exports $foreign"
[ "$(nm -D --defined-only "$plugins/libmien_poster.so" | awk '{print $3}')" = mien_plugin_entry ] || fail "symbols of the plugin"
objcopy --strip-all "$library" "$work/stripped.so"
size=$(stat -c %s "$work/stripped.so")
echo "- libmien.so stripped: $size bytes"
[ "$size" -le 3145728 ] || fail "libmien.so is larger than 3 MB"

echo "- example.c by find_package and by pkg-config"
cmake -S "$source/tests/install" -B "$work/example" -DCMAKE_PREFIX_PATH="$work/prefix" >/dev/null
cmake --build "$work/example" >/dev/null
export PKG_CONFIG_PATH=$lib/pkgconfig
# shellcheck disable=SC2046
cc "$source/tests/install/example.c" $(pkg-config --cflags --libs mien) -o "$work/example-pc"
"$mien" convert "$source/models/poster_var_small/model.onnx" -o "$work/small.plan" --plugin "$plugins/libmien_poster.so" >/dev/null
for program in "$work/example/example" "$work/example-pc"; do
  LD_LIBRARY_PATH=$lib "$program" "$work/small.plan" "$source/models/pictures/astronaut.png" >"$work/answer"
  [ "$(wc -l <"$work/answer")" -eq 7 ] || fail "$program printed $(cat "$work/answer")"
done

echo "- a plugin against the installed header alone"
# shellcheck disable=SC2046
cc -std=c17 -Wall -Wextra -Wpedantic -Werror -shared -fPIC -fvisibility=hidden -Wl,-z,defs \
  $(pkg-config --cflags mien) "$source/tests/plugin/hypot.c" -o "$work/hypot.so" -lm
cc -shared -fPIC -I"$work/prefix/include" "$source/tests/plugin/other_abi.c" -o "$work/other_abi.so"
model=$source/tests/plugin/hypot.onnx
"$mien" convert "$model" -o "$work/hypot.plan" --plugin "$work/hypot.so" --verify 3 >/dev/null
"$mien" info "$work/hypot.plan" --plugin "$work/hypot.so" | grep -q 'com.example.Hypot *1 *plugin example-hypot' ||
  fail "the rewrite did not find its pattern"
"$mien" run "$work/hypot.plan" --plugin "$work/hypot.so" --input x=random --input y=random --output "distance=$work/with.npy"
"$mien" run "$work/hypot.plan" --input x=random --input y=random --output "distance=$work/without.npy" 2>"$work/notice"
[ "$(grep -c 'com.example.Hypot' "$work/notice")" -eq 1 ] || fail "no notice about the decomposition: $(cat "$work/notice")"
"$mien" check "$work/hypot.plan" >/dev/null 2>&1 || fail "the decomposition does not give the golden values"
if "$mien" convert "$model" -o "$work/x.plan" --skip-pass example-hypot 2>"$work/notice"; then fail "an unknown pass was skipped"; fi
if "$mien" info "$work/hypot.plan" --plugin "$work/other_abi.so" 2>"$work/notice"; then fail "a plugin of another ABI was loaded"; fi
grep -q 'ABI 42.*ABI 1' "$work/notice" || fail "the error does not name both ABIs: $(cat "$work/notice")"

echo "- MIEN_PLUGIN_PATH"
mkdir "$work/plugins" && cp "$work/hypot.so" "$work/plugins/"
MIEN_PLUGIN_PATH=/nonexistent:$work/plugins "$mien" ops | grep -q 'com.example *Hypot' || fail "MIEN_PLUGIN_PATH"
echo "all good"
