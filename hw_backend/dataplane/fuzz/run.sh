#!/bin/sh
# Fuzzes the frame parser: fuzz/run.sh [SECONDS]. Needs clang. Exits non-zero on the first finding
# and says where it kept the input.
set -eu
seconds=${1:-60}
here=$(cd "$(dirname "$0")" && pwd)
clang=$(command -v clang || command -v clang-14) || {
    echo "fuzz/run.sh: clang is missing: apt-get install clang" >&2
    exit 2
}
work=$(mktemp -d)
"$clang" -std=gnu17 -g -O1 -Wall -Wextra -Werror \
    -fsanitize=fuzzer,address,undefined -fno-sanitize-recover=all \
    -I "$here/../common" -I "$here/.." "$here/fuzz_parse.c" "$here/../common/parse.c" -o "$work/fuzz_parse"
mkdir "$work/corpus" "$work/findings"
"$work/fuzz_parse" -max_total_time="$seconds" -max_len=10000 -len_control=50 -print_final_stats=1 \
    -artifact_prefix="$work/findings/" -dict="$here/parse.dict" "$work/corpus" "$here/seeds" || {
    echo "fuzz/run.sh: the parser failed; the input is in $work/findings" >&2
    exit 1
}
rm -r "$work"
