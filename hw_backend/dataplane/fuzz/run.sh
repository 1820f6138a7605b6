#!/bin/sh
# Fuzzes the frame parser, or every NF behind it: fuzz/run.sh [SECONDS] [parse|nfs]. Needs clang, and
# DPDK for the NFs. Exits non-zero on the first finding and says where it kept the input.
set -eu
seconds=${1:-60}
target=${2:-parse}
here=$(cd "$(dirname "$0")" && pwd)
clang=$(command -v clang || command -v clang-14) || {
    echo "fuzz/run.sh: clang is missing: apt-get install clang" >&2
    exit 2
}
work=$(mktemp -d)
set -- "$here/fuzz_$target.c" "$here/../common/parse.c"
if [ "$target" = nfs ]; then
    # shellcheck disable=SC2046
    set -- "$@" "$here"/../nfs/*.c $(pkg-config --cflags --libs libdpdk) -lIPSec_MB
fi
"$clang" -std=gnu17 -g -O1 -Wall -Wextra -Werror \
    -fsanitize=fuzzer,address,undefined -fno-sanitize-recover=all \
    -I "$here/../common" -I "$here/.." "$@" -o "$work/fuzz"
mkdir "$work/corpus" "$work/findings"
"$work/fuzz" -max_total_time="$seconds" -max_len=10000 -len_control=50 -print_final_stats=1 -verbosity=0 \
    -artifact_prefix="$work/findings/" -dict="$here/parse.dict" "$work/corpus" "$here/seeds" || {
    echo "fuzz/run.sh: $target failed; the input is in $work/findings" >&2
    exit 1
}
rm -r "$work"
