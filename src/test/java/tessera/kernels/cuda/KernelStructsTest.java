package tessera.kernels.cuda;

import static java.util.Objects.requireNonNull;
import static org.junit.jupiter.api.Assertions.assertEquals;
import static org.junit.jupiter.api.Assertions.assertThrows;

import java.io.IOException;
import java.nio.file.Files;
import java.nio.file.Path;
import java.util.Map;
import java.util.stream.Stream;
import org.junit.jupiter.api.Test;
import org.junit.jupiter.params.ParameterizedTest;
import org.junit.jupiter.params.provider.CsvSource;

/** What the watch over launches takes for the structs of the kernels, and that it sees a field in another place. */
class KernelStructsTest {
    private static final Map<String, String> SOURCES = Map.of("a.cuh", """
            constexpr int MANY = 3;
            struct Key {
                i64 seed;  // so; and so
                float rate;
            };
            struct alignas(128) TensorMap {
                u64 words[16];
            };
            struct FirstArgs {
                using Sum = int;
                static constexpr int N = 4;

                const bf16* x;
                signed char* y;
                Key keys[2];
                int few[MANY];
            };
            """, "a.cu", """
            #include "a.cuh"
            struct LaterArgs : FirstArgs {
                u32 more;
                double wide;
                TensorMap matrix;
            };
            """);

    private static KernelStructs structs() {
        return new KernelStructs(name -> requireNonNull(SOURCES.get(name), name));
    }

    @Test
    void fieldsLieWhereTheCompilerPutsThem() {
        String first = "p0 x, p8 y, l16 keys[0].seed, f24 keys[0].rate, l32 keys[1].seed, f40 keys[1].rate, "
                + "i48 few[0], i52 few[1], i56 few[2]";
        KernelStructs.Struct struct = structs().struct("a.cu", "FirstArgs");
        assertEquals("[" + first + "]", String.valueOf(struct.fields()));
        assertEquals(64, struct.bytes());
        KernelStructs.Struct later = structs().struct("a.cu", "LaterArgs");
        assertEquals("[" + first + ", i64 more, d72 wide, m128 matrix]", String.valueOf(later.fields()));
        assertEquals(256, later.bytes());
    }

    @ParameterizedTest
    @CsvSource({
        "'p0 p8 l16 f24 l32 f40 i48 i52 i56 ', true",
        "'p0 p8 z16 z24 z32 z40 z48 i56 ', true",
        "'p0 p8 l16 f24 l32 f40 i48 i52 ', false",
        "'p0 l8 p16 f24 l32 f40 i48 i52 i56 ', false",
        "'p0 p8 l16 i24 l32 f40 i48 i52 i56 ', false",
        "'p0 p8 l16 f24 l32 f40 i48 i52 i56 i60 ', false",
        "'p0 p8 l16 f24 l32 f40 l48 i56 ', false"
    })
    void argumentsFitAStructOrDoNot(String layout, boolean right) {
        assertEquals(right, structs().struct("a.cu", "FirstArgs").fits(layout), layout);
    }

    @Test
    void everySourceIsNamed() throws IOException {
        try (Stream<Path> files = Files.list(Path.of("../../kernels/src/main/cuda"))) {
            assertEquals(
                    CudaCode.SOURCES,
                    files.map(file -> file.getFileName().toString())
                            .filter(file -> file.endsWith(".cu"))
                            .map(file -> file.substring(0, file.length() - 3))
                            .sorted()
                            .toList());
        }
    }

    /** Two fields of unlike kinds that change places in a source are seen by what Java writes. */
    @Test
    void swappedFieldsAreSeen() {
        String written = "p0 p8 l16 l24 l32 p40 i48 f52 ";
        WatchedLaunches.Kernel kernel = new WatchedLaunches.Kernel("random.cu", "DropoutArgs", 56);
        WatchedLaunches.require("dropout_f32", kernel, KernelStructs.packaged(), written);
        KernelStructs swapped = new KernelStructs(
                name -> KernelStructs.resource(name).replaceAll("(u32 threshold;[^\n]*\n)( *float scale;\n)", "$2$1"));
        assertEquals(
                "the arguments of dropout_f32 were written as " + written
                        + "but DropoutArgs in random.cu is [p0 x, p8 y, "
                        + "l16 n, l24 key.seed, l32 key.stream, p40 variables, f48 scale, i52 threshold]",
                assertThrows(
                                AssertionError.class,
                                () -> WatchedLaunches.require("dropout_f32", kernel, swapped, written))
                        .getMessage());
    }

    @Test
    void whatIsNotKnownIsRefused() {
        KernelStructs odd = new KernelStructs(name -> "struct OddArgs {\n    bool (*callback)(int);\n};\n");
        assertEquals(
                "'bool (*callback)(int)' in struct OddArgs is no field that is known here",
                assertThrows(IllegalStateException.class, () -> odd.struct("odd.cu", "OddArgs"))
                        .getMessage());
        assertEquals(
                "no struct OtherArgs is known here",
                assertThrows(IllegalStateException.class, () -> odd.struct("odd.cu", "OtherArgs"))
                        .getMessage());
    }
}
