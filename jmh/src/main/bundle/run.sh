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
#   --warm         beside the tests, PyTorch compiles what "goals" will ask it, and keeps that on the disk; for smoke
#   --tiny         benchmarks at small shapes, once, to see that all of it runs; for goals, and smoke with --warm
#
#   TESSERA_PYTHON     the Python that has torch, for the comparison with PyTorch, or none; default: python3
#   TESSERA_JAVA_OPTS  more options for Java, each with a blank in it in double quotes
#
# Results are renewed every few seconds and complete after every step, so a run that is cut short leaves what it has: of smoke
# smoke.json, parity.txt and sanitizer.txt; of goals goals.json, goals.txt, peer.txt (what PyTorch complained of) and the tables
# of what computes what. Nothing is written elsewhere but to the folder of temporary files. Exit code 0: everything ran and was
# right; 1: something failed, was wrong or did not fit into the time; 2: bad usage, or no GPU that can be used.
set -u

here=$(cd "$(dirname "$0")" && pwd -P)
out=results
seconds=
only=
tiny=
warm=
fail() {
    echo "run.sh: error: $1" >&2
    exit 2
}

what=${1:-}
case $what in
    smoke) steps="parity racecheck synccheck memcheck" ;;
    goals) steps="attention products models kernels profile settings f32 rest" ;;
    *) fail "'$what' is no command; pass smoke, which tests, or goals, which measures" ;;
esac
shift
while [ $# -gt 0 ]; do
    case $1 in
        --out | --seconds | --only) [ -n "${2:-}" ] || fail "$1 needs a value; pass for example --out results --seconds 200" ;;
    esac
    case $1 in
        --out)
            out=$2
            shift
            ;;
        --seconds)
            seconds=$2
            shift
            ;;
        --only)
            only=$2
            shift
            ;;
        --warm) warm=yes ;;
        --tiny) tiny=--tiny ;;
        *) fail "'$1' is unknown; pass --out DIR, --seconds N, --only LIST, --warm or --tiny" ;;
    esac
    shift
done
[ -n "$seconds" ] || if [ "$what" = smoke ]; then seconds=200; else seconds=420; fi
case $seconds in
    0* | *[!0-9]* | ??????*) fail "--seconds is '$seconds'; pass a whole number from 1 to 99999" ;;
esac
case ,$only, in
    ,,) ;;
    *,,* | *[!a-z0-9,]*) fail "--only is '$only'; pass some of $steps, separated by commas" ;;
esac
for name in $(echo "$only" | tr , ' '); do
    case " $steps " in *" $name "*) ;; *) fail "--only has '$name', no step of $what; pass some of $steps, separated by commas" ;; esac
done
[ "$what" = smoke ] || [ -z "$warm" ] || fail "--warm goes with smoke; leave it out, as goals lets PyTorch compile by itself"
[ "$what" = goals ] || [ -n "$warm" ] || [ -z "$tiny" ] || fail "--tiny goes with goals, or with smoke --warm; leave it out"
case $here in *:*) fail "the folder $here has a colon in its name, where Java ends the name of a folder; unpack elsewhere" ;; esac
mkdir -p -- "$out" 2>/dev/null && [ -w "$out" ] || fail "$out cannot be made or written; pass another folder as --out"
out=$(cd -- "$out" && pwd -P)
work=$(mktemp -d "${TMPDIR:-/tmp}/tessera-run.XXXXXX") || fail "no folder of temporary files can be made; set TMPDIR to one that can be written"
mkdir "$work/parity" "$work/benchmark" "$work/sanitizer"
java=$here/runtime/bin/java
# What every Java is started with, in a file, where what holds a blank can be quoted.
options=$work/options
{
    echo "--enable-native-access=ALL-UNNAMED --add-modules=jdk.incubator.vector"
    printf '"-Dtessera.cuda.cache=%s"\n' "$(printf %s "$work/cache" | sed 's/[\\"]/\\&/g')"
    printf '%s\n' "${TESSERA_JAVA_OPTS:-}"
} >"$options"
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

# What goes in front of a command to end it after so many seconds, with code 124, and before the time of all is up.
limit() {
    if command -v timeout >/dev/null 2>&1; then
        most=$(($(left) - 3))
        most=$(($1 < most ? $1 : most))
        echo "timeout -k 3 $((most > 1 ? most : 1))"
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
    # Again where one that is about to end has just written there, so that a folder was not empty after all.
    for _ in 1 2 3 4 5; do
        rm -rf "$work" 2>/dev/null && break
        sleep 1
    done
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
    step $(limit 60) "$java" "@$options" -cp "$here/lib/*" tessera.distill.cli.Main doctor --json >"$work/doctor.part" 2>"$work/doctor.err"
    case $? in
        0) mv "$work/doctor.part" "$work/doctor.json" ;;
        124 | 137)
            echo "run.sh: error: there was not the time to find the GPU; pass more than --seconds $seconds" >&2
            exit 1
            ;;
        *) cat "$work/doctor.err" ;;
    esac
    [ ! -s "$work/doctor.json" ] || sed 's/","/"\n"/g; s/^{//' "$work/doctor.json" | cut -c 1-400
    sed -n 's/.*"cuda": *"used: cuda:0 (\([^,"]*\).*/\1/p' "$work/doctor.json" >"$work/card" 2>/dev/null
    if ! grep -q '"cuda": *"used' "$work/doctor.json" 2>/dev/null; then
        fail "no GPU that can be used; doctor says above why"
    fi
}

# compute-sanitizer's tool $1 on a sample of the kernels, which begins nothing new after $2 seconds.
sanitize() {
    log=$work/sanitizer/$1.txt
    start=$(date +%s)
    # shellcheck disable=SC2046,SC2086
    step $(limit $(($2 + 22))) "$sanitizer" --tool "$1" --target-processes all --print-limit 50 --report-api-errors no "$java" "@$options" -Xmx3g -Dtessera.threads=2 \
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
        $(limit $(($(left) - 8))) "$java" "@$options" -Xmx3g -cp "$here/lib/*" tessera.jmh.gpu.GpuBenchmark --only warm \
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
        export java options here work owner threads deadline
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
        $(limit 5) "$java" "@$options" -Xshare:auto -XX:TieredStopAtLevel=1 -cp "$here/lib/*" tessera.ParitySuite --digest "$work/parity" 7500 2>/dev/null ||
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
    set --
    [ -n "$tiny" ] || set -- --references "$here/references"
    # shellcheck disable=SC2046,SC2086
    step $(limit $((budget + 3))) "$java" "@$options" -Xmx24g -cp "$here/lib/*" tessera.jmh.gpu.GpuBenchmark \
        --out "$work/benchmark/results.json" --budget "$((budget > 0 ? budget : 0))" --revision "$revision" \
        --python "$python" "$@" ${only:+--only "$only"} $tiny >"$out/goals.txt" 2>&1 || failed=1
    tail -c 10500 "$out/goals.txt"
}

$what
combine last
name=$(sed -n 's/.*"\(device\|card\)":"\([^"]*\)".*/\2/p' "$out/$what.json" | tr 'A-Z ' 'a-z-' | tr -cd 'a-z0-9-')
say "done: $out/$what.json, to be kept as jmh/results/$(date +%Y-%m-%d)-$name-$what.json"
exit $failed
