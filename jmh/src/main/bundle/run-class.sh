#!/bin/sh
# Runs one class of the parity suite for run.sh, which exports what is used here: MODE CLASS. Leaves what it printed and one line
# of JSON in $work/parity.
set -u

mode=$1
class=$2
# Where the run was cut short, xargs is to stop too.
[ -d "$work/parity" ] && kill -0 "$owner" 2>/dev/null || exit 255
text=$work/parity/$class.txt
reports=$work/parity/$class
now=$(date +%s)
left=$((deadline - now))

# Sums an attribute over the suites of JUnit's reports.
count() {
    sed -n "s/.*<testsuite [^>]*[ ]$1=\"\([0-9]*\)\".*/\1/p" "$reports"/*.xml 2>/dev/null | awk '{ n += $1 } END { print n + 0 }'
}

debug=
if [ "$mode" = exact ]; then
    # Fills memory with NaN when it is handed out and freed.
    debug=-Dtessera.memory.debug=true
fi
code=124
echo "--- $class" >"$text"
if [ "$left" -gt 3 ]; then
    timeout=
    command -v timeout >/dev/null 2>&1 && timeout="timeout -k 5 $left"
    # shellcheck disable=SC2086
    $timeout "$java" $flags -Xmx3g -Dtessera.threads="$threads" $debug -cp "$here/lib/*" org.junit.platform.console.ConsoleLauncher execute \
        --disable-banner --disable-ansi-colors --details=summary --fail-if-no-tests --select-class "$class" \
        --reports-dir "$reports" >>"$text" 2>&1 &
    pid=$!
    echo $pid >"$work/$pid.pid"
    wait $pid
    code=$?
    rm -f "$work/$pid.pid"
fi
[ "$code" -eq 0 ] || echo "FAILED: $class with code $code" >>"$text"
[ "$code" -ne 124 ] || echo "out of time" >>"$text"
# Why tests were skipped.
sed -n 's/.*TestAbortedException: //p' "$reports"/*.xml 2>/dev/null | sort | uniq -c | sed 's/^/skipped: /' >>"$text"
names=$(awk '
    /<testcase / { name = $0; sub(/.*<testcase name="/, "", name); sub(/".*/, "", name) }
    /<failure|<error/ { gsub(/[\\\t]/, "", name); printf "%s\"%s\"", n++ ? "," : "", name }' "$reports"/*.xml 2>/dev/null)
printf '{"class":"%s","exit":%s,"seconds":%s,"tests":%s,"failures":%s,"errors":%s,"skipped":%s,"failed":[%s]}\n' \
    "$class" "$code" "$(($(date +%s) - now))" "$(count tests)" "$(count failures)" "$(count errors)" "$(count skipped)" \
    "$names" >"$text.part" && mv "$text.part" "$work/parity/$class.json"
exit 0
