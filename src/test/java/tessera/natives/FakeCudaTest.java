package tessera.natives;

import static org.junit.jupiter.api.Assertions.assertEquals;
import static org.junit.jupiter.api.Assertions.assertThrows;
import static org.junit.jupiter.api.Assertions.assertTrue;
import static org.junit.jupiter.api.Assumptions.assumeTrue;

import java.lang.foreign.Arena;
import java.lang.foreign.MemorySegment;
import java.lang.foreign.ValueLayout;
import org.junit.jupiter.api.AfterEach;
import org.junit.jupiter.api.BeforeEach;
import org.junit.jupiter.api.Tag;
import org.junit.jupiter.api.Test;
import org.junit.jupiter.params.ParameterizedTest;
import org.junit.jupiter.params.provider.CsvSource;
import org.junit.jupiter.params.provider.ValueSource;
import tessera.FakeCuda;
import tessera.natives.cuda.CudaDriver;
import tessera.natives.cuda.CudaException;

/** The fake CUDA notices what a kernel or a program must not do; {@code misbehave.cu} does it. */
@Tag(FakeCuda.TAG)
class FakeCudaTest {
    private static final int COUNT = 96;
    private static final int POISON = 0xCBCBCBCB;
    private static final int INVALID_VALUE = 1;

    private long stream;
    private long memory;

    @BeforeEach
    void start() {
        assumeTrue(FakeCuda.present(), FakeCuda::absence);
        CudaDriver.init(0);
        CudaDriver.contextSetCurrent(CudaDriver.primaryContextRetain(0));
        stream = CudaDriver.streamCreate(CudaDriver.STREAM_NON_BLOCKING, 0);
        memory = CudaDriver.memAlloc(COUNT * 4);
        FakeCuda.reset();
    }

    @AfterEach
    void end() {
        if (stream != 0) {
            FakeCuda.reset();
            CudaDriver.memFree(memory);
            CudaDriver.streamDestroy(stream);
            CudaDriver.primaryContextRelease(0);
        }
    }

    private void launch(int what, long bytesOfParameters) {
        Misbehave.launch(memory, COUNT, what, bytesOfParameters, stream);
    }

    private int[] values() {
        try (Arena arena = Arena.ofConfined()) {
            MemorySegment host = arena.allocate(COUNT * 4);
            CudaDriver.memcpyDtoHAsync(host.address(), memory, COUNT * 4, stream);
            return host.toArray(ValueLayout.JAVA_INT);
        }
    }

    @Test
    void kernelsRun() {
        launch(0, 24);
        int[] values = values();
        for (int i = 0; i < COUNT; i++) {
            assertEquals(i, Float.intBitsToFloat(values[i]));
        }
    }

    @Test
    void freshMemoryIsPoisoned() {
        for (int value : values()) {
            assertEquals(POISON, value);
        }
    }

    @ParameterizedTest
    @CsvSource({
        "1, 700, a write behind the allocation of 384 bytes",
        "2, 700, a write before the allocation of 384 bytes",
        "3, 719, threads diverge",
        "4, 719, threads diverge",
        "5, 719, different masks",
        "6, 716, misaligned",
        "7, 719, outside the shared array tile",
        "10, 719, threads diverge",
        "17, 719, threads diverge",
    })
    void misdeedsEndTheLaunch(int what, int status, String text) {
        launch(what, 24);
        CudaException e = assertThrows(CudaException.class, () -> CudaDriver.streamSynchronize(stream));
        assertEquals(status, e.code(), e.getMessage());
        assertTrue(FakeCuda.lastError().contains(text), FakeCuda.lastError());
        assertTrue(FakeCuda.lastError().contains("kernel misbehave"), FakeCuda.lastError());
        launch(0, 24);
        CudaDriver.streamSynchronize(stream);
    }

    @ParameterizedTest
    @ValueSource(ints = {8, 9})
    void whatWasNotWrittenIsPoison(int what) {
        try (Arena arena = Arena.ofConfined()) {
            CudaDriver.memcpyHtoDAsync(memory, arena.allocate(COUNT * 4).address(), COUNT * 4, stream);
        }
        launch(what, 24);
        assertEquals(POISON, values()[7]);
    }

    @Test
    void warpgroupsMultiply() {
        Misbehave.launchProducts(memory, COUNT, 0, stream);
        for (int value : values()) {
            assertEquals(16f, Float.intBitsToFloat(value));
        }
    }

    @ParameterizedTest
    @CsvSource({
        "1, a wgmma without a wgmma_fence",
        "2, without a fence_proxy_async since",
        "3, operand B of a wgmma changed in shared memory",
        "4, outside dynamic shared memory",
        "5, threads of a warpgroup issue different products",
    })
    void misdeedsWithProductsEndTheLaunch(int what, String text) {
        Misbehave.launchProducts(memory, COUNT, what, stream);
        assertThrows(CudaException.class, () -> CudaDriver.streamSynchronize(stream));
        assertTrue(FakeCuda.lastError().contains(text), FakeCuda.lastError());
        assertTrue(FakeCuda.lastError().contains("kernel misbehave_products"), FakeCuda.lastError());
    }

    @Test
    void productsThatAreNotWaitedForAreNotNumbers() {
        Misbehave.launchProducts(memory, COUNT, 6, stream);
        for (int value : values()) {
            assertTrue(Float.isNaN(Float.intBitsToFloat(value)));
        }
    }

    @Test
    void parametersOfAnotherSizeAreRefused() {
        CudaException e = assertThrows(CudaException.class, () -> launch(0, 20));
        assertEquals(FakeCuda.LAUNCH_FAILED, e.code());
        assertTrue(FakeCuda.lastError().contains("20 bytes of parameters, its struct has 24"), FakeCuda.lastError());
    }

    @Test
    void freedMemoryIsNotUsedAgain() {
        long live = memory;
        memory = CudaDriver.memAlloc(COUNT * 4);
        CudaDriver.memFree(memory);
        launch(0, 24);
        memory = live;
        CudaException e = assertThrows(CudaException.class, () -> CudaDriver.streamSynchronize(stream));
        assertEquals(FakeCuda.ILLEGAL_ADDRESS, e.code());
        assertTrue(FakeCuda.lastError().contains("which is freed"), FakeCuda.lastError());
        assertEquals(
                INVALID_VALUE,
                assertThrows(CudaException.class, () -> CudaDriver.memFree(memory + 256))
                        .code());
    }

    @Test
    void copiesBeyondAnAllocationAreRefused() {
        try (Arena arena = Arena.ofConfined()) {
            long host = arena.allocate(COUNT * 4 + 4).address();
            CudaException e = assertThrows(
                    CudaException.class, () -> CudaDriver.memcpyDtoHAsync(host, memory, COUNT * 4 + 4, stream));
            assertEquals(FakeCuda.ILLEGAL_ADDRESS, e.code());
        }
    }

    @Test
    void pinnedMemoryIsReadWhenTheStreamGetsThere() {
        MemorySegment pinned = CudaDriver.memHostAlloc(COUNT * 4, 0);
        CudaDriver.memcpyHtoDAsync(memory, pinned.address(), COUNT * 4, stream);
        pinned.fill((byte) 3);
        assertEquals(0x03030303, values()[0]);
        CudaDriver.memFreeHost(pinned.address());
    }

    @Test
    void streamsRunOnTheirOwnUntilAnEventOrdersThem() {
        long other = CudaDriver.streamCreate(CudaDriver.STREAM_NON_BLOCKING, 0);
        CudaDriver.memsetD32Async(memory, 7, COUNT, other);
        assertEquals(POISON, values()[0]);
        long event = CudaDriver.eventCreate(CudaDriver.EVENT_NO_TIMING);
        CudaDriver.eventRecord(event, other);
        CudaDriver.streamWaitEvent(stream, event, 0);
        assertEquals(7, values()[0]);
        CudaDriver.eventDestroy(event);
        CudaDriver.streamDestroy(other);
    }

    @Test
    void waitingForACaptureEndsIt() {
        CudaDriver.streamBeginCapture(stream, CudaDriver.CAPTURE_RELAXED);
        assertEquals(
                900,
                assertThrows(CudaException.class, () -> CudaDriver.streamSynchronize(stream))
                        .code());
        assertEquals(
                901,
                assertThrows(CudaException.class, () -> CudaDriver.streamEndCapture(stream))
                        .code());
    }

    @Test
    void memoryEnds() {
        FakeCuda.set("memory", 1 << 20);
        CudaException e = assertThrows(CudaException.class, () -> CudaDriver.memAlloc(2 << 20));
        assertTrue(e.outOfMemory(), e.getMessage());
    }

    @Test
    void nthCallFails() {
        FakeCuda.fail("cuMemAlloc", 2, FakeCuda.OUT_OF_MEMORY);
        CudaDriver.memFree(CudaDriver.memAlloc(16));
        assertEquals(
                FakeCuda.OUT_OF_MEMORY,
                assertThrows(CudaException.class, () -> CudaDriver.memAlloc(16)).code());
        CudaDriver.memFree(CudaDriver.memAlloc(16));
        assertEquals(3, FakeCuda.calls("cuMemAlloc"));
    }
}
