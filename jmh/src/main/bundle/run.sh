#!/bin/sh
# On a machine with an NVIDIA GPU: doctor, the parity suite, the benchmarks and compute-sanitizer on a sample where it is
# installed, in under 8 minutes. Needs the driver and, for matrix products, cuBLAS; no Java, no network.
#
#   ./run.sh [--out DIR] [--seconds N] [--tiny]
#
#   --out DIR      where the results go, default: results in the current folder
#   --seconds N    how long all of it may take, default: 470
#   --tiny         benchmarks at small shapes, once, to see that all of it runs
#
#   TESSERA_PYTHON     the Python that has torch, for the comparison with PyTorch; default: python3
#   TESSERA_JAVA_OPTS  more options for Java
#
# DIR/results.json is complete after every step and is renewed every few seconds, so a run that is cut short leaves what it has.
# Beside it: doctor.txt, parity.txt, benchmark.txt with the tables, peer.txt (what PyTorch complained of), attention.providers,
# sanitizer.txt. Nothing is written elsewhere but to the folder of temporary files. Exit code 0: everything ran and was right; 1:
# something failed, was wrong or did not fit into the time; 2: a bad option, or no GPU that can be used.
set -u

here=$(cd "$(dirname "$0")" && pwd -P)
out=results
seconds=470
tiny=
usage() {
    echo "Usage: $0 [--out DIR] [--seconds N] [--tiny]" >&2
    exit 2
}
while [ $# -gt 0 ]; do
    case $1 in
        --out)
            [ $# -ge 2 ] || usage
            out=$2
            shift 2
            ;;
        --seconds)
            [ $# -ge 2 ] || usage
            seconds=$2
            case $seconds in '' | *[!0-9]*) usage ;; esac
            shift 2
            ;;
        --tiny)
            tiny=--tiny
            shift
            ;;
        *) usage ;;
    esac
done
mkdir -p "$out" || exit 2
out=$(cd "$out" && pwd -P)
work=$(mktemp -d "${TMPDIR:-/tmp}/tessera-run.XXXXXX") || exit 2
mkdir "$work/parity" "$work/benchmark"
java=$here/runtime/bin/java
flags="--enable-native-access=ALL-UNNAMED --add-modules=jdk.incubator.vector -Dtessera.cuda.cache=$work/cache ${TESSERA_JAVA_OPTS:-}"
revision=$(cat "$here/revision" 2>/dev/null || echo unknown)
cores=$(getconf _NPROCESSORS_ONLN 2>/dev/null || echo 2)
begun=$(date +%s)
failed=0

elapsed() {
    echo $(($(date +%s) - begun))
}

left() {
    echo $((seconds - $(elapsed)))
}

say() {
    echo "[$(elapsed) s] $1"
}

# What goes in front of a command to end it after so many seconds, with code 124.
limit() {
    if command -v timeout >/dev/null 2>&1; then
        echo "timeout -k 5 $(($1 > 1 ? $1 : 1))"
    fi
}

# ------------------------------------------------------------------------------------------------------------ results

# Sums up what the test classes have left so far.
parity() {
    cat "$work"/parity/*.json 2>/dev/null | awk -F'[:,}]' '
        {
            for (i = 1; i < NF; i++) {
                gsub(/[{"]/, "", $i)
                if ($i == "tests" || $i == "failures" || $i == "errors" || $i == "skipped") sum[$i] += $(i + 1)
                if ($i == "exit" && $(i + 1) == 124) late++
                if ($i == "exit" && $(i + 1) != 0) bad++
            }
            lines++
        }
        END {
            printf "{\"classes_done\":%d,\"classes_failed\":%d,\"classes_out_of_time\":%d", lines, bad, late
            printf ",\"tests\":%d,\"failures\":%d,\"errors\":%d,\"skipped\":%d", sum["tests"], sum["failures"], sum["errors"], sum["skipped"]
        }'
    printf ',"classes":[%s]}' "$(cat "$work"/parity/*.json 2>/dev/null | paste -sd, -)"
}

# Puts what is there into one file, by a temporary name that ends with $1.
combine() {
    {
        printf '{"seconds":%s,"limit_seconds":%s,"doctor":%s,"parity":%s,"sanitizer":%s,' "$(elapsed)" "$seconds" \
            "$(cat "$work/doctor.json" 2>/dev/null || echo null)" "$(parity)" \
            "$(cat "$work/sanitizer.json" 2>/dev/null || echo null)"
        # The benchmark's members become members here.
        if [ -s "$work/benchmark/results.json" ]; then
            tail -c +2 "$work/benchmark/results.json"
        else
            printf '"revision":"%s"}\n' "$revision"
        fi
    } >"$out/.results.$1" && mv "$out/.results.$1" "$out/results.json"
    cat "$work"/parity/*.txt >"$out/parity.txt" 2>/dev/null
    for file in attention.providers peer.txt; do
        if [ -s "$work/benchmark/$file" ]; then
            cp "$work/benchmark/$file" "$out/"
        fi
    done
}

finish() {
    code=$?
    trap '' EXIT HUP INT TERM
    kill "$renewer" 2>/dev/null
    # What still runs was started by this run, which is cut short.
    for file in "$work"/*.pid; do
        [ ! -s "$file" ] || kill "$(cat "$file")" 2>/dev/null
    done
    combine last
    rm -f "$out"/.results.*
    rm -rf "$work"
    exit "$code"
}

# Renews the results while the steps run, and ends with this shell however that ends.
(
    trap - EXIT HUP INT TERM
    while kill -0 $$ 2>/dev/null; do
        sleep 3
        combine renewed 2>/dev/null
    done
) &
renewer=$!
trap finish EXIT
trap 'exit 1' HUP INT TERM

# Runs a command in the background and waits for it, so that a signal is acted upon at once.
step() {
    "$@" &
    pid=$!
    echo $pid >"$work/$pid.pid"
    wait $pid
    code=$?
    rm -f "$work/$pid.pid"
    return $code
}

# PyTorch takes long to start from a cold disk.
python=${TESSERA_PYTHON:-python3}
# shellcheck disable=SC2046
$(limit 120) "$python" -c 'import torch, torch._inductor.compile_fx' >/dev/null 2>&1 &
echo $! >"$work/$!.pid"

# ------------------------------------------------------------------------------------------------------------- doctor

say "doctor"
# shellcheck disable=SC2046,SC2086
step $(limit 60) "$java" $flags -cp "$here/lib/*" tessera.distill.cli.Main doctor >"$out/doctor.txt" 2>&1
cat "$out/doctor.txt"
# shellcheck disable=SC2046,SC2086
step $(limit 60) "$java" $flags -cp "$here/lib/*" tessera.distill.cli.Main doctor --json >"$work/doctor" 2>/dev/null &&
    mv "$work/doctor" "$work/doctor.json"
if ! grep -q '"cuda": *"used' "$work/doctor.json" 2>/dev/null; then
    echo "run.sh: no GPU that can be used; doctor says above why" >&2
    exit 2
fi

# ------------------------------------------------------------------------------------------------------------- parity

# One process for each test class, several at once: a class that loses the device, hangs or crashes fails alone.
parity_limit=$((seconds * 35 / 100))
jobs=$((cores / 2 > 8 ? 8 : cores / 2 > 1 ? cores / 2 : 1))
say "parity suite, $jobs classes at once, $parity_limit s at most"
classes() {
    grep "^$1 " "$here/tests"
    return 0
}
owner=$$
threads=$((cores / jobs))
export java flags here work owner threads
suite() {
    deadline=$((begun + parity_limit))
    export deadline
    { classes plain && classes exact; } | xargs -P "$jobs" -n 2 sh "$here/run-class.sh"
    classes alone | xargs -n 2 sh "$here/run-class.sh"
}
step suite
combine parity
sed -n '/^FAILED/p' "$out/parity.txt"
parity | sed 's/,"classes":.*//; s/[{}"]//g; s/,/, /g; s/:/ /g; s/$/\n/'
parity | grep -q '"classes_failed":0,' || failed=1

# --------------------------------------------------------------------------------------------------------- benchmarks

sanitizer=$(command -v compute-sanitizer || ls /usr/local/cuda/bin/compute-sanitizer 2>/dev/null || true)
reserve=10
[ -z "$sanitizer" ] || reserve=60
budget=$(($(left) - reserve))
say "benchmarks, $budget s at most"
: >"$out/benchmark.txt"
# shellcheck disable=SC2046,SC2086
step $(limit $((budget + 8))) "$java" $flags -Xmx24g -cp "$here/lib/*" tessera.jmh.gpu.GpuBenchmark \
    --out "$work/benchmark/results.json" --budget "$((budget > 0 ? budget : 0))" --revision "$revision" \
    --python "$python" $tiny >"$out/benchmark.txt" 2>&1 || failed=1
cat "$out/benchmark.txt"

# ---------------------------------------------------------------------------------------------------------- sanitizer

if [ -z "$sanitizer" ]; then
    echo '{"ran":false,"reason":"compute-sanitizer is not installed"}' >"$work/sanitizer.json"
elif [ "$(left)" -lt 10 ]; then
    echo '{"ran":false,"reason":"no time was left"}' >"$work/sanitizer.json"
else
    say "compute-sanitizer on a sample of the kernels, $(left) s at most"
    # shellcheck disable=SC2046,SC2086
    step $(limit "$(left)") "$sanitizer" --tool memcheck --target-processes all "$java" $flags -cp "$here/lib/*" \
        tessera.kernels.SanitizedKernels >"$out/sanitizer.txt" 2>&1
    code=$?
    errors=$(sed -n 's/.*ERROR SUMMARY: \([0-9]*\) error.*/\1/p' "$out/sanitizer.txt" | tail -n 1)
    printf '{"ran":true,"exit":%s,"errors":%s}' "$code" "${errors:-null}" >"$work/sanitizer.json"
    tail -n 5 "$out/sanitizer.txt"
    [ "${errors:-0}" -eq 0 ] || failed=1
fi

combine last
name=$(sed -n 's/.*"device":"\([^"]*\)".*"date":"\([0-9-]*\)T.*/\1 \2/p' "$out/results.json" | tr 'A-Z ' 'a-z-' | tr -cd 'a-z0-9-')
say "done: $out/results.json, to be kept as jmh/results/$name.json"
exit $failed
