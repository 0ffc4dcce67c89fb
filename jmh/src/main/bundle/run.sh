#!/bin/sh
# On a machine with an NVIDIA GPU: doctor, the parity suite, compute-sanitizer on a sample where it is installed, and the
# benchmarks, in under 8 minutes. Needs the driver and, for matrix products, cuBLAS; no Java, no network.
#
#   ./run.sh [--out DIR]     default DIR: results
#
# DIR/results.json is complete after every step, so a run that is cut short leaves what it has; the tables are in DIR/*.txt.
set -u

here=$(cd "$(dirname "$0")" && pwd -P)
out=results
while [ $# -gt 0 ]; do
    case $1 in
        --out)
            [ $# -ge 2 ] || { echo "run.sh: --out needs a folder" >&2; exit 2; }
            out=$2
            shift 2
            ;;
        *) echo "Usage: $0 [--out DIR]" >&2; exit 2 ;;
    esac
done
mkdir -p "$out/parts" || exit 2
out=$(cd "$out" && pwd -P)
java=$here/runtime/bin/java
flags="--enable-native-access=ALL-UNNAMED --add-modules=jdk.incubator.vector -Xmx16g"
begun=$(date +%s)
failed=0

elapsed() {
    echo $(($(date +%s) - begun))
}

say() {
    echo "[$(elapsed) s] $1"
}

# Puts the parts that are there into one file, by a temporary name.
combine() {
    {
        printf '{"revision":"%s","seconds":%s' "$(cat "$here/revision")" "$(elapsed)"
        for part in doctor parity sanitizer benchmark; do
            if [ -s "$out/parts/$part.json" ]; then
                printf ',"%s":' "$part"
                cat "$out/parts/$part.json"
            fi
        done
        printf '}\n'
    } >"$out/.results.json" && mv "$out/.results.json" "$out/results.json"
}

# Sums an attribute over the suites of JUnit's reports.
count() {
    sed -n "s/.*<testsuite [^>]*[ ]$1=\"\([0-9]*\)\".*/\1/p" "$2"/*.xml 2>/dev/null | awk '{ n += $1 } END { print n + 0 }'
}

# Runs tests: name, seconds, then the command in front of Java (or "") and the test classes as options of the launcher.
tests() {
    name=$1
    limit=$2
    front=$3
    shift 3
    reports=$out/$name-reports
    rm -rf "$reports"
    # shellcheck disable=SC2086
    timeout "$limit" $front "$java" $flags -cp "$here/lib/*" \
        org.junit.platform.console.ConsoleLauncher execute --disable-banner --details=summary --fail-if-no-tests --scan-classpath "$here"/lib/*-tests.jar --reports-dir "$reports" "$@" \
        >"$out/$name.txt" 2>&1
    code=$?
    printf '{"exit":%s,"tests":%s,"failures":%s,"errors":%s,"skipped":%s,"cut_short":%s}' "$code" \
        "$(count tests "$reports")" "$(count failures "$reports")" "$(count errors "$reports")" \
        "$(count skipped "$reports")" "$([ $code -eq 124 ] && echo true || echo false)" >"$out/parts/$name.json"
    combine
    tail -n 14 "$out/$name.txt"
    [ $code -eq 0 ] || failed=1
}

say "doctor"
# shellcheck disable=SC2086
timeout 60 "$java" $flags -cp "$here/lib/*" tessera.distill.cli.Main doctor 2>&1 | tee "$out/doctor.txt"
# shellcheck disable=SC2086
timeout 60 "$java" $flags -cp "$here/lib/*" tessera.distill.cli.Main doctor --json >"$out/parts/doctor.json" 2>/dev/null
combine

say "parity suite"
tests parity 170 "" --include-classname '.*[.](OpDevicesTest|Golden.*Test|Cuda.*Test)'

sanitizer=$(command -v compute-sanitizer || ls /usr/local/cuda/bin/compute-sanitizer 2>/dev/null || true)
if [ -n "$sanitizer" ]; then
    say "compute-sanitizer on a sample"
    tests sanitizer 60 "$sanitizer --error-exitcode 3" --include-classname '.*[.]CudaDataTest'
else
    echo '{"skipped":"compute-sanitizer is not installed"}' >"$out/parts/sanitizer.json"
    combine
fi

left=$((460 - $(elapsed)))
say "benchmarks, $left s at most"
# shellcheck disable=SC2086
timeout $((left + 10)) "$java" $flags -cp "$here/lib/*" tessera.jmh.gpu.GpuBenchmark --out "$out/parts/benchmark.json" \
    --budget "$left" >"$out/benchmark.txt" 2>&1 || failed=1
cat "$out/benchmark.txt"
combine
say "done: $out/results.json"
exit $failed
