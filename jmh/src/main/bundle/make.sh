#!/bin/sh
# "tessera bundle --out DIR [--architectures LIST]": everything that a machine with an NVIDIA driver, but without Java and
# network, needs to run the parity suite and the benchmarks, in one archive DIR/tessera-bundle.tar.xz. LIST names the targets
# whose machine code it holds, separated by commas, of 80, 86, 89, 90a, 100 and 120; without it, all, which takes minutes.
# "tessera bundle --page FILE.json" prints a page of results. Called by the launcher with the home of the project and of the JDK.
# The commands on that machine, in the folder with the archive, where nothing but DIR is kept:
#
#   (tar -xJf tessera-bundle.tar.xz -C /tmp || python3 -m tarfile -e tessera-bundle.tar.xz /tmp) &&
#       sh /tmp/tessera-bundle/run.sh smoke --out DIR && sh /tmp/tessera-bundle/run.sh goals --out DIR
set -eu

fail() {
    echo "tessera: error: $1" >&2
    exit 2
}

home=$1
jdk=$2
shift 2
out=
architectures=
page=

# Takes the value of option $1, which was $2 before: $3, if there are $4 words or more.
value() {
    [ "$4" -ge 2 ] && [ -n "$3" ] || fail "$1 needs a value; pass for example $1 $5"
    case $3 in
        --*) fail "$1 needs a value but '$3' is an option; pass for example $1 $5" ;;
    esac
    [ -z "$2" ] || fail "$1 is given twice; give it once"
    given=$3
}

while [ $# -gt 0 ]; do
    case $1 in
        --*=*)
            option=${1%%=*}
            word=${1#*=}
            shift
            set -- "$option" "$word" "$@"
            ;;
    esac
    case $1 in
        --out)
            value "$1" "$out" "${2:-}" $# bundle
            out=$given
            shift 2
            ;;
        --architectures)
            value "$1" "$architectures" "${2:-}" $# 90a
            architectures=$given
            shift 2
            ;;
        --page)
            value "$1" "$page" "${2:-}" $# jmh/results/FILE-goals.json
            page=$given
            shift 2
            ;;
        --help | -h)
            echo "Usage: tessera bundle --out DIR [--architectures LIST]"
            echo "       tessera bundle --page FILE.json"
            echo "Writes DIR/tessera-bundle.tar.xz: unpack it on a machine with a GPU and start run.sh in it."
            echo "--page prints what goals left as FILE.json as a page in Markdown; the jars are those of the last bundle or bench."
            echo "LIST: the targets whose machine code it holds, of 80, 86, 89, 90a, 100, 120; default: all."
            exit 0
            ;;
        *) fail "unknown argument '$1' of bundle; pass --out DIR and --architectures LIST, or --page FILE" ;;
    esac
done
if [ -n "$page" ] && [ -n "$out$architectures" ]; then
    fail "--page prints a page and packs nothing; leave it, or --out and --architectures away"
fi
case ,$architectures, in
    ,, | ,all,) architectures=all ;;
    *,,*) fail "--architectures is '$architectures'; pass some of 80,86,89,90a,100,120 with commas between" ;;
    *)
        for each in $(echo "$architectures" | tr ',' ' '); do
            case $each in
                80 | 86 | 89 | 90a | 100 | 120) ;;
                *) fail "--architectures has '$each'; pass some of 80,86,89,90a,100,120 with commas between" ;;
            esac
        done
        ;;
esac
if [ -n "$page" ]; then
    [ -f "$page" ] || fail "there is no $page; pass a file that goals left, as in jmh/results"
    [ -d "$home/jmh/target/lib" ] || fail "nothing is built yet; run tessera bundle --out DIR or tessera bench first"
    exec "$jdk/bin/java" -cp "$home/jmh/target/lib/*" tessera.jmh.gpu.ResultsPage "$page"
fi
[ -n "$out" ] || fail "bundle needs a folder for its archive; pass --out DIR"
[ ! -e "$out" ] || [ -d "$out" ] || fail "$out is a file; pass a folder as --out"
command -v mvn >/dev/null 2>&1 || fail "the bundle is built with Maven (mvn), which is not on the PATH; install Maven 3.8 or newer"
command -v xz >/dev/null 2>&1 || fail "the bundle is packed with xz, which is not on the PATH; install xz-utils"
[ -x "$jdk/bin/jlink" ] || fail "$jdk has no jlink; point TESSERA_JAVA_HOME at a whole JDK"

log=$home/jmh/target/bundle.log
mkdir -p "$home/jmh/target"
mkdir -p "$out" 2>/dev/null && work=$(mktemp -d "$out/.bundle.$$.XXXXXX" 2>/dev/null) ||
    fail "--out $out cannot be written; name another folder"
trap 'rm -rf "$work"' EXIT
trap 'exit 1' HUP INT TERM
# What runs left that were killed.
for left in "$out"/.bundle.*.*; do
    maker=${left##*/.bundle.}
    maker=${maker%%.*}
    case $maker in
        *[!0-9]*) ;;
        *) kill -0 "$maker" 2>/dev/null || rm -rf "$left" ;;
    esac
done
echo "building the jars, tests and benchmarks ..." >&2
if ! JAVA_HOME=$jdk mvn -B -f "$home/pom.xml" -Pbundle -DskipTests -Dcuda.architectures="$architectures" package >"$log" 2>&1; then
    grep '^\[ERROR\]' "$log" | head -n 20 >&2
    echo "tessera: error: the build failed; the whole log is in $log" >&2
    exit 1
fi

root=$work/tessera-bundle
mkdir -p "$root"
echo "linking a Java runtime ..." >&2
"$jdk/bin/jlink" --add-modules java.base,java.logging,java.management,java.xml,jdk.incubator.vector,jdk.management,jdk.unsupported,jdk.zipfs \
    --compress zip-0 --strip-debug --no-header-files --no-man-pages --output "$root/runtime" 2>"$log" || {
    cat "$log" >&2
    exit 1
}
# Class path of the suite and the benchmarks. Carriers of CPU libraries stay behind, the reference there is plain Java, and so
# does what other tests and benchmarks use. The jars are stored, not compressed: the archive is.
mkdir "$root/lib"
for jar in "$home"/src/test/target/*-tests.jar "$home"/src/test/target/bundle/*.jar "$home"/jmh/target/lib/*.jar; do
    case ${jar##*/} in
        dnnl-* | ffmpeg-* | opencv-* | openblas-* | javacpp-* | onnxruntime-* | archunit* | slf4j-* | jmh-core* | commons-math3* | jopt-simple*) continue ;;
    esac
    [ ! -e "$root/lib/${jar##*/}" ] || continue
    mkdir "$work/jar"
    (cd "$work/jar" && "$jdk/bin/jar" xf "$jar" && rm -f lib/libJNvPTXCompiler*)
    "$jdk/bin/jar" cf0M "$root/lib/${jar##*/}" -C "$work/jar" .
    rm -rf "$work/jar"
done
# The classes of the parity suite, each with how it is run: "exact" with checked memory.
# Those that compile the sources for the fake CUDA stay behind, as the sources do. What takes longest comes first.
longest="CudaKernelsTest OpDevicesTest GpuBenchmarkTest CudaAttentionTest CudaMainJobTest CudaMatmulTest StudentTrainingTest
    CudaEnsembleTest CudaElementwiseTest CudaNormsTest"
(cd "$home/src/test/java" && grep -rlE '@Tag\((FakeCuda\.TAG|"cuda")\)' tessera && echo tessera/kernels/cuda/CudaSourcesTest.java) |
    sort | while read -r file; do
    ! grep -qE 'FakeCudaBuilder|kernels/src/main/cuda|SanitizedKernels|make\.sh' "$home/src/test/java/$file" || continue
    mode=plain
    ! grep -q 'Tag(FakeCuda.EXACT)' "$home/src/test/java/$file" || mode=exact
    class=$(echo "${file%.java}" | tr / .)
    place=$(echo $longest | tr ' ' '\n' | grep -n "^${class##*.}\$" | cut -d: -f1)
    echo "${place:-99} $mode $class"
done | sort -n | cut -d' ' -f2- >"$root/tests"
echo "computing what the kernels should write ..." >&2
"$root/runtime/bin/java" --enable-native-access=ALL-UNNAMED --add-modules=jdk.incubator.vector -Xmx3g -cp "$root/lib/*" \
    tessera.jmh.gpu.References "$root/references" >"$log" 2>&1 || {
    cat "$log" >&2
    exit 1
}
cp "$home"/jmh/src/main/bundle/run.sh "$home"/jmh/src/main/bundle/run-class.sh "$root/"
git -C "$home" describe --always --dirty --abbrev=40 --match '' >"$root/revision" 2>/dev/null || echo unknown >"$root/revision"
chmod +x "$root/run.sh"

echo "packing ..." >&2
tar -C "$work" -cf - tessera-bundle | xz -9 >"$work/archive"
size=$(wc -c <"$work/archive")
limit=$((64 * 1024 * 1024))
if [ "$size" -gt "$limit" ]; then
    echo "tessera: error: the bundle has $size bytes, more than the $limit that it may have" >&2
    exit 1
fi
mv "$work/archive" "$out/tessera-bundle.tar.xz"
echo "$out/tessera-bundle.tar.xz ($((size / 1024 / 1024)) MiB)"
