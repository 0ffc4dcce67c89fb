package tessera.natives;

import static org.junit.jupiter.api.Assertions.assertEquals;
import static org.junit.jupiter.api.Assertions.assertTrue;
import static org.junit.jupiter.api.Assumptions.abort;
import static org.junit.jupiter.api.DynamicTest.dynamicTest;

import java.io.IOException;
import java.nio.charset.StandardCharsets;
import java.nio.file.Files;
import java.nio.file.Path;
import java.util.ArrayList;
import java.util.List;
import java.util.Map;
import java.util.TreeMap;
import java.util.concurrent.TimeUnit;
import java.util.stream.IntStream;
import java.util.stream.Stream;
import org.junit.jupiter.api.DynamicTest;
import org.junit.jupiter.api.TestFactory;
import org.junit.jupiter.api.io.TempDir;
import tessera.ChildJava;

/**
 * The bindings agree with the vendor's headers: every constant and struct size has the same value, every function the same
 * number of arguments, each of the same size and kind. The host's C++ compiler decides; what it cannot, because a header is
 * missing, is skipped with a count.
 */
class CudaHeadersTest {
    /** How a function of C passes its result and arguments, in the letters of {@link CudaBindingsProcess}. */
    private static final String PRELUDE = """
            #include <cstddef>
            #include <type_traits>
            template <class T> constexpr char letter() {
                if constexpr (std::is_void_v<T>) return 'v';
                else if constexpr (std::is_floating_point_v<T>) return sizeof(T) == 4 ? 'f' : 'd';
                else return '0' + sizeof(T);
            }
            template <class R, class... A> constexpr bool passes(const char* expected) {
                const char actual[] = {letter<R>(), letter<A>()..., 0};
                const char* a = actual;
                for (; *a && *a == *expected; a++, expected++) {}
                return *a == *expected;
            }
            template <class R, class... A> constexpr bool fits(R (*)(A...), const char* expected) {
                return passes<R, A...>(expected);
            }
            """;

    @TempDir
    private Path temp;

    @TestFactory
    List<DynamicTest> everyConstantAndFunctionIsAsInTheHeaders() throws Exception {
        Map<String, List<String>> claims = new TreeMap<>();
        ChildJava.run(temp, "-Dtessera.native=off", CudaBindingsProcess.class)
                .lines()
                .forEach(line -> {
                    String[] words = line.split(" ", 5);
                    if (words[0].equals("constant")) {
                        claims.computeIfAbsent(words[1], header -> new ArrayList<>())
                                .add("static_assert((long long) (" + words[4] + ") == " + words[2] + "LL, \"" + words[3]
                                        + "\");");
                    } else if (words[0].equals("function")) {
                        claims.computeIfAbsent(header(words[1]), header -> new ArrayList<>())
                                .add(overload(words[1], words[2].length() - 1) + "static_assert(fits(" + words[1]
                                        + ", \"" + words[2] + "\"), \"" + words[1] + "\");");
                    }
                });
        assertEquals(
                List.of("cublasLt.h", "cublas_v2.h", "cuda.h", "cudnn.h", "nccl.h", "nvrtc.h"),
                List.copyOf(claims.keySet()));
        List<Path> folders = includeFolders();
        return claims.entrySet().stream()
                .map(entry -> dynamicTest(
                        entry.getKey() + ": " + entry.getValue().size() + " claims",
                        () -> check(entry.getKey(), entry.getValue(), folders)))
                .toList();
    }

    private void check(String header, List<String> claims, List<Path> folders) throws Exception {
        if (folders.stream().noneMatch(folder -> Files.exists(folder.resolve(header)))) {
            abort(header + " is not on this machine: " + claims.size() + " claims about it are not checked");
        }
        Result good = compile(header, claims, folders);
        assertEquals(0, good.status, good.text);
        for (String claim : List.of(first(claims, "static_assert((long"), first(claims, "static_assert(fits"))) {
            String planted = claim.replace(") == ", ") == 1 + ").replace(", \"", ", \"f");
            Result bad = compile(
                    header, Stream.concat(claims.stream(), Stream.of(planted)).toList(), folders);
            assertTrue(bad.status != 0 && bad.text.contains("static assertion failed"), planted + "\n" + bad.text);
        }
    }

    /** The first claim of a kind, for planting a mistake in it. */
    private static String first(List<String> claims, String start) {
        return claims.stream()
                .filter(claim -> claim.startsWith(start))
                .findFirst()
                .orElse("static_assert(passes<int, int>(\"44\"), \"no such claim\");");
    }

    /** In C++ these products have two forms; the one of C ends with a compute type and an algorithm. */
    private static String overload(String function, int arguments) {
        if (!function.startsWith("cublasGemm")) {
            return "";
        }
        List<String> types =
                IntStream.range(0, arguments - 2).mapToObj(i -> "A" + i).toList();
        String all = String.join(", ", types) + ", cublasComputeType_t, cublasGemmAlgo_t";
        return "template <class R, class " + String.join(", class ", types) + "> constexpr bool fits(R (*)(" + all
                + "), const char* expected) { return passes<R, " + all + ">(expected); }\n";
    }

    private Result compile(String header, List<String> claims, List<Path> folders) throws Exception {
        Path source = temp.resolve("claims.cpp");
        Files.writeString(source, "#include <" + header + ">\n" + PRELUDE + String.join("\n", claims) + "\n");
        List<String> command = new ArrayList<>(List.of("g++", "-std=c++17", "-fsyntax-only"));
        folders.forEach(folder -> command.addAll(List.of("-isystem", folder.toString())));
        command.add(source.toString());
        Process process;
        try {
            process = new ProcessBuilder(command).redirectErrorStream(true).start();
        } catch (IOException e) {
            return abort("no C++ compiler g++ on this machine: " + claims.size() + " claims about " + header
                    + " are not checked");
        }
        String text = new String(process.getInputStream().readAllBytes(), StandardCharsets.UTF_8);
        assertTrue(process.waitFor(1, TimeUnit.MINUTES), "the compiler does not end");
        return new Result(process.exitValue(), text);
    }

    private record Result(int status, String text) {}

    private static String header(String function) {
        return function.startsWith("cublasLt")
                ? "cublasLt.h"
                : function.startsWith("cublas")
                        ? "cublas_v2.h"
                        : function.startsWith("cudnn")
                                ? "cudnn.h"
                                : function.startsWith("nvrtc")
                                        ? "nvrtc.h"
                                        : function.startsWith("nccl") ? "nccl.h" : "cuda.h";
    }

    /** The toolkit's headers, and those of Python packages under the folder of the property for them. */
    private static List<Path> includeFolders() throws IOException {
        List<Path> folders = new ArrayList<>();
        for (String variable : List.of("CUDA_HOME", "CUDA_PATH")) {
            if (System.getenv(variable) != null) {
                folders.add(Path.of(System.getenv(variable), "include"));
            }
        }
        folders.add(Path.of("/usr/local/cuda/include"));
        String packages = System.getProperty("tessera.cuda.python");
        if (packages != null && Files.isDirectory(Path.of(packages, "nvidia"))) {
            try (Stream<Path> names = Files.list(Path.of(packages, "nvidia"))) {
                names.map(name -> name.resolve("include")).forEach(folders::add);
            }
        }
        return folders.stream().filter(Files::isDirectory).toList();
    }
}
