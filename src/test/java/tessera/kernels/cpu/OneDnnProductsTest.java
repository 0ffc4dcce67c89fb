package tessera.kernels.cpu;

import static java.util.Objects.requireNonNull;
import static org.junit.jupiter.api.Assertions.assertArrayEquals;
import static org.junit.jupiter.api.Assertions.assertEquals;
import static org.junit.jupiter.api.Assertions.assertThrows;
import static org.junit.jupiter.api.Assertions.assertTrue;
import static org.junit.jupiter.api.Assumptions.assumeTrue;

import java.lang.foreign.Arena;
import java.lang.foreign.FunctionDescriptor;
import java.lang.foreign.Linker;
import java.lang.foreign.MemoryLayout;
import java.lang.foreign.MemorySegment;
import java.lang.foreign.SegmentAllocator;
import java.lang.foreign.ValueLayout;
import java.lang.invoke.MethodHandle;
import java.util.ArrayList;
import java.util.List;
import java.util.Optional;
import org.junit.jupiter.api.Test;
import tessera.kernels.DType;
import tessera.kernels.Matmul.Activation;
import tessera.kernels.Matmul.MatmulShape;
import tessera.natives.onednn.OneDnn;
import tessera.natives.onednn.OneDnnException;

/** What oneDNN and the checks before it refuse. */
class OneDnnProductsTest {
    private static final int FLOATS = OneDnnProducts.types(OneDnn.F32, OneDnn.F32, OneDnn.F32);

    /** Types of which there is no product. */
    private static final int NONSENSE = OneDnnProducts.types(OneDnn.S8, OneDnn.BF16, OneDnn.F32);

    private static final int REFUSALS = 10_000;
    /** Bytes; the compiler's memory comes and goes. */
    private static final long NOISE = 16 << 20;

    @Test
    void whatIsMadeEndsInTurnAndOnce() {
        List<Long> ended = new ArrayList<>();
        Made made = new Made();
        assertEquals(4, made.keep(4, ended::add));
        made.keep(5, ended::add);
        made.close();
        made.close();
        assertEquals(List.of(5L, 4L), ended);
    }

    /** Measured where the C library tells how much is in use. */
    @Test
    void aRefusedProductLeavesNothingBehind() throws Throwable {
        assumeTrue(OneDnn.finding().usable(), OneDnn.finding().toString());
        HostMemory memory = new HostMemory();
        try (Arena arena = Arena.ofConfined()) {
            MemorySegment data = arena.allocate(1024, 64);
            Gemm.Product product = new Gemm.Product(
                    DType.F32,
                    MatmulShape.of(false, false, 3, 5, 7),
                    data,
                    data,
                    0,
                    data,
                    data.asSlice(512),
                    Activation.GELU,
                    data);
            long before = inUse();
            for (int i = 0; i < REFUSALS; i++) {
                assertThrows(OneDnnException.class, () -> OneDnnProducts.run(NONSENSE, product));
                assertThrows(
                        OneDnnException.class,
                        () -> OneDnnProducts.packed(NONSENSE, memory, DType.F32, 5, 7, 0, OneDnn.F32, data, 7));
            }
            long grown = inUse() - before;
            assertTrue(grown < NOISE, grown + " bytes more in use after " + REFUSALS + " refusals");
            assertEquals(0, memory.use().live());
            // The thread's context still multiplies.
            Gemm gemm = Gemm.create(new Workers(1), memory);
            data.setAtIndex(ValueLayout.JAVA_FLOAT, 0, 3);
            gemm.tile(MatmulShape.of(false, false, 1, 1, 1), data, 0, data, 0, false, data, 1);
            assertEquals(9, data.getAtIndex(ValueLayout.JAVA_FLOAT, 1));
        }
    }

    /** Bytes that the C library's heap has given out; 0 where it does not tell. */
    @SuppressWarnings("restricted")
    private static long inUse() throws Throwable {
        Optional<MemorySegment> function = Linker.nativeLinker().defaultLookup().find("mallinfo2");
        if (function.isEmpty()) {
            return 0;
        }
        MemoryLayout counts = MemoryLayout.structLayout(MemoryLayout.sequenceLayout(10, ValueLayout.JAVA_LONG));
        MethodHandle call = Linker.nativeLinker().downcallHandle(function.get(), FunctionDescriptor.of(counts));
        try (Arena arena = Arena.ofConfined()) {
            MemorySegment told = (MemorySegment) call.invokeExact((SegmentAllocator) arena);
            return told.getAtIndex(ValueLayout.JAVA_LONG, 7);
        }
    }

    /** An output of an input lies where the descriptor says. */
    @Test
    void weightsOfConvolutionsLieInBlocks() {
        assumeTrue(OneDnn.finding().usable(), OneDnn.finding().toString());
        int outputs = 24;
        int inputs = 40;
        try (Arena arena = Arena.ofConfined()) {
            MemorySegment w = arena.allocate((long) outputs * inputs * Float.BYTES, 64);
            for (int i = 0; i < outputs * inputs; i++) {
                w.setAtIndex(ValueLayout.JAVA_FLOAT, i, i);
            }
            try (Gemm.Weight weight = OneDnnProducts.packed(
                    FLOATS | OneDnnProducts.POINTWISE,
                    new HostMemory(),
                    DType.F32,
                    outputs,
                    inputs,
                    0,
                    OneDnn.F32,
                    w,
                    inputs)) {
                for (int o = 0; o < outputs; o++) {
                    for (int i = 0; i < inputs; i++) {
                        int at = (o / 8 * (inputs / 8) + i / 8) * 64 + i % 8 * 8 + o % 8;
                        assertEquals(o * inputs + i, weight.data.getAtIndex(ValueLayout.JAVA_FLOAT, at));
                    }
                }
            }
        }
    }

    /** oneDNN has loops for these weights whatever the number of rows; its reference would take a thousand times as long. */
    @Test
    void convolutionsAreNeverTheReference() {
        assumeTrue(OneDnn.finding().usable() && OneDnn.isLimitedToAvx2(), "this processor takes no convolutions");
        long engine = OneDnn.engineCreate();
        for (long[] size : new long[][] {{8, 8}, {64, 448}, {128, 512}, {384, 1536}, {1152, 384}, {400, 384}}) {
            for (long rows = 1; rows < 300; rows += rows < 64 ? 1 : 13) {
                try (Made made = new Made()) {
                    long x = made.keep(OneDnn.pixelsDesc(OneDnn.F32, rows, size[1]), OneDnn::memoryDescDestroy);
                    long y = made.keep(OneDnn.pixelsDesc(OneDnn.F32, rows, size[0]), OneDnn::memoryDescDestroy);
                    long w = made.keep(
                            OneDnn.pixelWeightsDescInBlocks(OneDnn.F32, size[0], size[1]), OneDnn::memoryDescDestroy);
                    long bias = made.keep(OneDnn.vectorDesc(size[0]), OneDnn::memoryDescDestroy);
                    for (boolean sum : new boolean[] {false, true}) {
                        long attr = made.keep(OneDnn.attrCreate(sum, sum ? 0 : y, false), OneDnn::attrDestroy);
                        long desc = made.keep(
                                OneDnn.pixelConvolutionDescCreate(engine, x, w, bias, y, attr),
                                OneDnn::primitiveDescDestroy);
                        String chosen = OneDnn.implementation(desc);
                        assertTrue(chosen.startsWith("jit"), rows + " x " + size[0] + " of " + size[1] + ": " + chosen);
                    }
                }
            }
        }
    }

    @Test
    void tilesLieWithinTheirMemory() {
        assumeTrue(OneDnnBf16.usable(), "this processor multiplies no bf16");
        MatmulShape shape = new MatmulShape(false, true, 2, 3, 4, 5, 4, 6);
        try (Arena arena = Arena.ofConfined()) {
            // As much as each matrix needs from its second element on: a 1 + 5 + 4, b 1 + 2 * 4 + 4, c 1 + 6 + 3.
            MemorySegment a = bf16(arena, 10);
            MemorySegment b = bf16(arena, 13);
            MemorySegment c = arena.allocate(10 * Float.BYTES, 64);
            OneDnnBf16.tile(shape, a, 1, b, 1, false, c, 1);
            assertArrayEquals(new float[] {0, 4, 4, 4, 0, 0, 0, 4, 4, 4}, c.toArray(ValueLayout.JAVA_FLOAT));
            assertRefused("a is [2, 4] with rows 5 elements apart and needs 22 bytes", shape, a, 2, b, 1, c, 1);
            assertRefused("b is [3, 4] with rows 4 elements apart and needs 28 bytes", shape, a, 1, b, 2, c, 1);
            assertRefused("c is [2, 3] with rows 6 elements apart and needs 44 bytes", shape, a, 1, b, 1, c, 2);
            assertRefused("a is [2, 4] with rows 5 elements apart", shape, a, -1, b, 1, c, 1);
            assertRefused("c is [2, 3] with rows 2", new MatmulShape(false, true, 2, 3, 4, 5, 4, 2), a, 0, b, 0, c, 0);
            assertRefused(
                    "a is [2, 4] with rows 5 elements apart and needs 18 bytes of native memory",
                    shape,
                    MemorySegment.ofArray(new short[20]),
                    0,
                    b,
                    0,
                    c,
                    0);
        }
    }

    private static MemorySegment bf16(Arena arena, int count) {
        MemorySegment ones = arena.allocate((long) count * Short.BYTES, 64);
        for (int i = 0; i < count; i++) {
            ones.setAtIndex(ValueLayout.JAVA_SHORT, i, Elements.toBf16(1));
        }
        return ones;
    }

    private static void assertRefused(
            String reason,
            MatmulShape shape,
            MemorySegment a,
            long fromA,
            MemorySegment b,
            long fromB,
            MemorySegment c,
            long fromC) {
        String message = requireNonNull(assertThrows(
                        IllegalArgumentException.class,
                        () -> OneDnnBf16.tile(shape, a, fromA, b, fromB, false, c, fromC))
                .getMessage());
        assertTrue(message.contains(reason), message);
    }
}
