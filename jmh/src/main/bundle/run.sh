#!/bin/sh
# On a machine with an NVIDIA GPU; needs the driver and, for matrix products, cuBLAS; no Java, no network.
#
#   ./run.sh smoke [--out DIR] [--seconds N] [--only LIST] [--warm] [--tiny]
#   ./run.sh goals [--out DIR] [--seconds N] [--only LIST] [--tiny]
#
# "smoke" tests: doctor, the parity suite and, where it is installed, compute-sanitizer (racecheck, synccheck, memcheck) on a
# sample of the kernels beside it. "goals" measures: ceilings, goals, kernels, what computes fastest, beside PyTorch.
#
#   --out DIR      where the results go, default: results in the current folder
#   --seconds N    how long all of it may take, which is obeyed; default: 200 for smoke, 420 for goals
#   --only LIST    steps, separated by commas; smoke: parity, racecheck, synccheck, memcheck; goals: attention, products,
#                  models, kernels, profile, settings, f32, rest
#   --warm         beside the tests, PyTorch compiles what "goals" will ask it, and keeps that on the disk
#   --tiny         benchmarks at small shapes, once, to see that all of it runs
#
#   TESSERA_PYTHON     the Python that has torch, for the comparison with PyTorch, or none; default: python3
#   TESSERA_JAVA_OPTS  more options for Java
#
# Results are renewed every few seconds and complete after every step, so a run that is cut short leaves what it has: of smoke
# smoke.json, parity.txt and sanitizer.txt; of goals goals.json, goals.txt, peer.txt (what PyTorch complained of) and the tables
# of what computes what. Nothing is written elsewhere but to the folder of temporary files. Exit code 0: everything ran and was
# right; 1: something failed, was wrong or did not fit into the time; 2: a bad option, or no GPU that can be used.
set -u

here=$(cd "$(dirname "$0")" && pwd -P)
out=results
seconds=
only=
tiny=
warm=
usage() {
    echo "Usage: $0 smoke|goals [--out DIR] [--seconds N] [--only LIST] [--warm] [--tiny]" >&2
    exit 2
}
what=${1:-}
case $what in
    smoke | goals) shift ;;
    *) usage ;;
esac
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
        --only)
            [ $# -ge 2 ] || usage
            only=$2
            shift 2
            ;;
        --warm)
            warm=yes
            shift
            ;;
        --tiny)
            tiny=--tiny
            shift
            ;;
        *) usage ;;
    esac
done
[ -n "$seconds" ] || if [ "$what" = smoke ]; then seconds=200; else seconds=420; fi
mkdir -p "$out" || exit 2
out=$(cd "$out" && pwd -P)
work=$(mktemp -d "${TMPDIR:-/tmp}/tessera-run.XXXXXX") || exit 2
mkdir "$work/parity" "$work/benchmark" "$work/sanitizer"
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
        echo "timeout -k 3 $(($1 > 1 ? $1 : 1))"
    fi
}

# Whether a step is wanted.
wanted() {
    case ",${only:-$1}," in *",$1,"*) return 0 ;; *) return 1 ;; esac
}

# ------------------------------------------------------------------------------------------------------------ results

# Sums up what the test classes have left so far.
parity() {
    cat "$work"/parity/*.json 2>/dev/null | awk -F'[:,}]' '
        {
            for (i = 1; i < NF; i++) {
                gsub(/[{"]/, "", $i)
                if ($i == "failures") break
                if ($i == "passed" || $i == "failed" || $i == "skipped") sum[$i] += $(i + 1)
                if ($i == "exit" && ($(i + 1) == 124 || $(i + 1) == 137)) late++
                if ($i == "exit" && $(i + 1) != 0) bad++
            }
            lines++
        }
        END {
            printf "{\"classes_done\":%d,\"classes_failed\":%d,\"classes_out_of_time\":%d", lines, bad, late
            printf ",\"passed\":%d,\"failed\":%d,\"skipped\":%d", sum["passed"], sum["failed"], sum["skipped"]
        }'
    printf ',"classes":[%s]}' "$(cat "$work"/parity/*.json 2>/dev/null | paste -sd, -)"
}

# Puts what is there into $out, by temporary names that end with $1.
combine() {
    part=$out/.part.$1
    if [ "$what" = smoke ]; then
        printf '{"revision":"%s","card":"%s","seconds":%s,"limit_seconds":%s,"doctor":%s,"parity":%s,"sanitizer":[%s]}\n' "$revision" \
            "$(cat "$work/card" 2>/dev/null)" "$(elapsed)" "$seconds" "$(cat "$work/doctor.json" 2>/dev/null || echo null)" "$(parity)" \
            "$(cat "$work"/sanitizer/*.json 2>/dev/null | paste -sd, -)" >"$part" && mv "$part" "$out/smoke.json"
        if [ -n "$(ls "$work"/parity/*.txt 2>/dev/null)" ]; then
            cat "$work"/parity/*.txt >"$out/parity.txt"
        fi
        if [ -n "$(ls "$work"/sanitizer/*.txt 2>/dev/null)" ]; then
            # The end of each log: a kernel with many findings would fill it.
            for file in "$work"/sanitizer/*.txt; do
                echo "--- ${file##*/}"
                head -c 400000 "$file"
                echo "--- end of ${file##*/}"
                tail -n 40 "$file"
            done >"$out/sanitizer.txt"
        fi
    else
        if [ -s "$work/benchmark/results.json" ]; then
            cp "$work/benchmark/results.json" "$part" && mv "$part" "$out/goals.json"
        fi
        for file in "$work"/benchmark/*; do
            case $file in
                */results.json* | *.part | */\*) ;;
                *) [ ! -s "$file" ] || cp "$file" "$out/" ;;
            esac
        done
    fi
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
    rm -f "$out"/.part.*
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

# -------------------------------------------------------------------------------------------------------------- smoke

doctor() {
    # shellcheck disable=SC2046,SC2086
    step $(limit 60) "$java" $flags -cp "$here/lib/*" tessera.distill.cli.Main doctor --json >"$work/doctor.part" 2>"$work/doctor.err" &&
        mv "$work/doctor.part" "$work/doctor.json" || cat "$work/doctor.err"
    [ ! -s "$work/doctor.json" ] || sed 's/","/"\n"/g; s/^{//' "$work/doctor.json" | cut -c 1-400
    sed -n 's/.*"cuda": *"used: cuda:0 (\([^,"]*\).*/\1/p' "$work/doctor.json" >"$work/card" 2>/dev/null
    if ! grep -q '"cuda": *"used' "$work/doctor.json" 2>/dev/null; then
        echo "run.sh: no GPU that can be used; doctor says above why" >&2
        exit 2
    fi
}

# compute-sanitizer's tool $1 on a sample of the kernels, which begins nothing new after $2 seconds.
sanitize() {
    log=$work/sanitizer/$1.txt
    start=$(date +%s)
    # shellcheck disable=SC2046,SC2086
    step $(limit $(($2 + 22))) "$sanitizer" --tool "$1" --target-processes all --print-limit 50 --report-api-errors no "$java" $flags -Xmx3g -Dtessera.threads=2 \
        -cp "$here/lib/*" tessera.kernels.SanitizedKernels "$2" >"$log" 2>&1
    code=$?
    errors=$(sed -n -e 's/.*ERROR SUMMARY: \([0-9]*\) error.*/\1/p' -e 's/.*RACECHECK SUMMARY: \([0-9]*\) hazard.*/\1/p' "$log" | tail -n 1)
    calls=$(sed -n 's/^sanitized: \([0-9]*\) calls.*/\1/p' "$log" | tail -n 1)
    skipped=$(sed -n 's/^sanitized: .*out of time for \([0-9]*\).*/\1/p' "$log" | tail -n 1)
    printf '{"tool":"%s","exit":%s,"seconds":%s,"errors":%s,"calls":%s,"out_of_time_for":%s}\n' "$1" "$code" \
        "$(($(date +%s) - start))" "${errors:-null}" "${calls:-null}" "${skipped:-0}" >"$work/sanitizer/$1.part"
    mv "$work/sanitizer/$1.part" "$work/sanitizer/$1.json"
}

# One process for each test class, several at once: a class that loses the device, hangs or crashes fails alone.
suite() {
    xargs -P "$jobs" -n 2 sh "$here/run-class.sh" <"$here/tests"
}

smoke() {
    say "doctor"
    doctor
    if [ -n "$warm" ]; then
        # shellcheck disable=SC2046,SC2086
        $(limit $(($(left) - 8))) "$java" $flags -Xmx3g -cp "$here/lib/*" tessera.jmh.gpu.GpuBenchmark --only warm \
            --out "$work/warm/results.json" --budget $(($(left) - 14)) --python "${TESSERA_PYTHON:-python3}" $tiny >"$work/warm.txt" 2>&1 &
        warming=$!
        echo $warming >"$work/$warming.pid"
    fi
    sanitizer=$(command -v compute-sanitizer || ls /usr/local/cuda/bin/compute-sanitizer 2>/dev/null || true)
    tools=
    for tool in racecheck synccheck memcheck; do
        ! wanted $tool || tools="$tools $tool"
    done
    pids=
    if [ -n "$tools" ] && [ -z "$sanitizer" ]; then
        echo '{"tool":"none","reason":"compute-sanitizer is not installed"}' >"$work/sanitizer/none.json"
        say "compute-sanitizer is not installed"
        tools=
    fi
    for tool in $tools; do
        sanitize "$tool" $(($(left) - 32 > 1 ? $(left) - 32 : 1)) &
        pids="$pids $!"
    done
    if wanted parity; then
        jobs=$((cores / 2 > 8 ? 8 : cores / 2 > 1 ? cores / 2 : 1))
        owner=$$
        threads=$((cores / jobs))
        deadline=$((begun + seconds - 8))
        export java flags here work owner threads deadline
        say "parity suite, $jobs classes at once${tools:+, beside it$tools}, $(left) s left"
        step suite
        say "parity suite has ended"
    fi
    # shellcheck disable=SC2086
    [ -z "$pids" ] || wait $pids
    if [ -n "$warm" ]; then
        wait $warming
        rm -f "$work/$warming.pid"
        grep -c "prepared" "$work/warm.txt" | sed 's/^/warmed: /'
        grep "PyTorch" "$work/warm.txt" | cut -c 1-160 | head -n 30
    fi
    combine parity
    echo
    for tool in $tools; do
        cat "$work/sanitizer/$tool.json"
        if ! grep -q '"exit":0,.*"errors":0,' "$work/sanitizer/$tool.json"; then
            failed=1
            grep -E '=========|Exception|rror' "$work/sanitizer/$tool.txt" | head -n 16 | cut -c 1-200
        fi
    done
    if wanted parity; then
        # shellcheck disable=SC2046,SC2086
        $(limit 5) "$java" $flags -Xshare:auto -XX:TieredStopAtLevel=1 -cp "$here/lib/*" tessera.ParitySuite --digest "$work/parity" 7500 2>/dev/null ||
            grep -hE '^(ENDED|### FAILED)' "$work"/parity/*.txt | head -c 7500
        parity | sed 's/,"classes":.*//; s/[{}"]//g; s/,/, /g; s/:/ /g; s/$/\n/'
        parity | grep -q '"classes_failed":0,' || failed=1
    fi
}

# -------------------------------------------------------------------------------------------------------------- goals

goals() {
    python=${TESSERA_PYTHON:-python3}
    budget=$(($(left) - 6))
    say "goals, $budget s at most"
    : >"$out/goals.txt"
    references=
    [ -n "$tiny" ] || references="--references $here/references"
    # shellcheck disable=SC2046,SC2086
    step $(limit $((budget + 3))) "$java" $flags -Xmx24g -cp "$here/lib/*" tessera.jmh.gpu.GpuBenchmark \
        --out "$work/benchmark/results.json" --budget "$((budget > 0 ? budget : 0))" --revision "$revision" \
        --python "$python" $references ${only:+--only "$only"} $tiny >"$out/goals.txt" 2>&1 || failed=1
    tail -c 10500 "$out/goals.txt"
}

$what
combine last
name=$(sed -n 's/.*"\(device\|card\)":"\([^"]*\)".*/\2/p' "$out/$what.json" | tr 'A-Z ' 'a-z-' | tr -cd 'a-z0-9-')
say "done: $out/$what.json, to be kept as jmh/results/$(date +%Y-%m-%d)-$name-$what.json"
exit $failed
