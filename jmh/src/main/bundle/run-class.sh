#!/bin/sh
# Runs one class of the parity suite for run.sh, which exports what is used here: MODE CLASS. Leaves what it printed, a line for
# each test and one line of JSON in $work/parity.
set -u

mode=$1
class=$2
# Where the run was cut short, xargs is to stop too.
[ -d "$work/parity" ] && kill -0 "$owner" 2>/dev/null || exit 255
text=$work/parity/$class.txt
tests=$work/parity/$class.tests
now=$(date +%s)
left=$((deadline - now))

count() {
    grep -c "^$1" "$tests" 2>/dev/null || true
}

debug=
if [ "$mode" = exact ]; then
    # Fills memory with NaN when it is handed out and freed.
    debug=-Dtessera.memory.debug=true
fi
code=124
echo "--- $class" >"$text"
: >"$tests"
if [ "$left" -gt 3 ]; then
    timeout=
    command -v timeout >/dev/null 2>&1 && timeout="timeout -k 3 $left"
    # shellcheck disable=SC2086
    $timeout "$java" "@$options" -Xmx3g -Dtessera.threads="$threads" $debug -cp "$here/lib/*" tessera.ParitySuite "$class" "$tests" \
        >>"$text" 2>&1 &
    pid=$!
    echo $pid >"$work/$pid.pid"
    wait $pid
    code=$?
    rm -f "$work/$pid.pid"
fi
took=$(($(date +%s) - now))
case $code in
    0 | 1) ;;
    2) echo "ENDED: $class: nothing was run" >>"$text" ;;
    124 | 137) [ ! -s "$tests" ] && [ "$took" -lt 3 ] && echo "NOT BEGUN: $class" >>"$text" || echo "ENDED: $class: out of time after $took s and $(wc -l <"$tests") tests" >>"$text" ;;
    *) echo "ENDED: $class: code $code after $(wc -l <"$tests") tests: $(grep -v '^WARNING' "$text" | tail -n 3 | tr '\n' ' ' | cut -c 1-600)" >>"$text" ;;
esac
names=$(awk -F'\t' '$1 == "failed" { gsub(/["\\]/, "", $3); printf "%s\"%s\"", n++ ? "," : "", substr($3, 1, 200) }' "$tests")
printf '{"class":"%s","exit":%s,"seconds":%s,"passed":%s,"failed":%s,"skipped":%s,"failures":[%s]}\n' \
    "$class" "$code" "$took" "$(count passed)" "$(count failed)" "$(count skipped)" "$names" >"$text.part" &&
    mv "$text.part" "$work/parity/$class.json"
exit 0
