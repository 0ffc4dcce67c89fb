package tessera.tensor;

import static java.util.Objects.requireNonNull;
import static org.junit.jupiter.api.Assertions.assertArrayEquals;
import static org.junit.jupiter.api.Assertions.assertEquals;
import static org.junit.jupiter.api.Assertions.assertFalse;
import static org.junit.jupiter.api.Assertions.assertThrows;
import static org.junit.jupiter.api.Assertions.assertTrue;

import java.lang.foreign.Arena;
import java.lang.foreign.MemorySegment;
import java.lang.foreign.ValueLayout;
import java.util.concurrent.CompletableFuture;
import java.util.concurrent.CompletionException;
import org.junit.jupiter.api.Test;
import org.junit.jupiter.api.function.Executable;
import tessera.kernels.DType;
import tessera.kernels.Device;
import tessera.kernels.DeviceException;

class ScopeTest {
    /** Its own device, so that its memory is not disturbed by other tests. */
    private final Device device = Device.cpu(1);

    private Tensor made(long... sizes) {
        return Tensor.full(device, DType.F32, Shape.of(sizes), 1);
    }

    private static void refused(Executable call, String... parts) {
        IllegalStateException e = assertThrows(IllegalStateException.class, call);
        for (String part : parts) {
            assertTrue(requireNonNull(e.getMessage()).contains(part), e.getMessage() + " lacks: " + part);
        }
    }

    @Test
    void closingFreesWhatWasMade() {
        long before = device.memory().live();
        Tensor leaked;
        try (Scope scope = Scope.open()) {
            leaked = made(100).add(made(100)).exp();
            assertTrue(device.memory().live() > before);
        }
        assertEquals(before, device.memory().live());
        assertTrue(leaked.isClosed());
        refused(leaked::exp, "exp: f32[100] was used after its memory was freed", "scope.keep(tensor)");
        refused(leaked::toFloats, "read: f32[100] was used after its memory was freed");
        refused(leaked::segment, "buffer: f32[100] was used after its memory was freed");
        assertEquals("f32[100] cpu (freed)", leaked.toString());
    }

    @Test
    void moreThanAProcessorAddressesIsRefusedWithTheRemedy() {
        made(7);
        for (long elements : new long[] {1L << 45, 1L << 46, 1L << 58}) {
            DeviceException e =
                    assertThrows(DeviceException.class, () -> Tensor.empty(device, DType.F32, Shape.of(elements)));
            assertTrue(
                    requireNonNull(e.getMessage()).startsWith("cpu: cannot allocate " + 4 * elements + " bytes; "),
                    e.getMessage());
            assertTrue(e.getMessage().endsWith("use a smaller batch or call Device.trim()"), e.getMessage());
        }
    }

    @Test
    void keepHandsATensorOut() {
        long before = device.memory().liveBuffers();
        try (Scope outer = Scope.open()) {
            Tensor kept;
            try (Scope inner = Scope.open()) {
                Tensor x = made(2, 3);
                made(7);
                kept = inner.keep(x.transpose(0, 1));
                assertEquals(before + 2, device.memory().liveBuffers());
            }
            assertEquals(before + 1, device.memory().liveBuffers());
            assertArrayEquals(new float[] {1, 1, 1, 1, 1, 1}, kept.toFloats());
        }
        assertEquals(before, device.memory().liveBuffers());
    }

    @Test
    void keepOfTheOutermostScopeGivesToTheUser() {
        long before = device.memory().liveBuffers();
        Tensor mine;
        try (Scope scope = Scope.open()) {
            mine = scope.keep(made(3));
        }
        assertFalse(mine.isClosed());
        mine.close();
        mine.close();
        assertEquals(before, device.memory().liveBuffers());
    }

    @Test
    void tensorsWithoutAScopeAreTheUsers() {
        long before = device.memory().liveBuffers();
        Tensor x = made(3);
        Tensor view = x.slice(0, 1, 2);
        assertTrue(view.sharesMemory(x));
        view.close();
        assertTrue(x.isClosed());
        assertEquals(before, device.memory().liveBuffers());
    }

    @Test
    void gradientsLiveAsLongAsTheirLeaf() {
        long before = device.memory().liveBuffers();
        Tensor kept;
        Tensor gradient;
        try (Scope scope = Scope.open()) {
            Tensor dropped = made(3).requiresGrad(true);
            kept = scope.keep(made(3).requiresGrad(true));
            kept.mul(dropped).sum().backward();
            gradient = requireNonNull(kept.grad());
        }
        assertArrayEquals(new float[] {1, 1, 1}, gradient.toFloats());
        assertEquals(before + 2, device.memory().liveBuffers());
        kept.close();
        assertTrue(gradient.isClosed());
        assertEquals(before, device.memory().liveBuffers());
    }

    @Test
    void exceptionsCloseScopes() {
        long before = device.memory().live();
        assertThrows(IllegalArgumentException.class, () -> {
            try (Scope outer = Scope.open();
                    Scope inner = Scope.open()) {
                made(2, 3).matmul(made(4, 5));
            }
        });
        assertEquals(before, device.memory().live());
        Tensor x = made(2);
        assertFalse(x.isClosed());
        x.close();
    }

    @Test
    void scopesCloseInOrder() {
        Scope outer = Scope.open();
        Scope inner = Scope.open();
        refused(outer::close, "cannot close a scope while one opened later is open; close the inner scope first");
        Tensor x = made(1);
        refused(() -> outer.keep(x), "cannot keep a tensor of a scope while one opened later is open");
        inner.close();
        inner.close();
        Tensor y = made(1);
        refused(() -> inner.keep(y), "cannot keep a tensor of a closed scope; call keep before the scope closes");
        outer.close();
        assertTrue(x.isClosed() && y.isClosed());
    }

    @Test
    void scopesBelongToTheirThread() {
        try (Scope scope = Scope.open()) {
            CompletionException e = assertThrows(
                    CompletionException.class,
                    () -> CompletableFuture.runAsync(scope::close).join());
            assertTrue(
                    requireNonNull(requireNonNull(e.getCause()).getMessage())
                            .contains("scopes belong to the thread that opened them"),
                    e.toString());
            Tensor x = made(2);
            float[] read = CompletableFuture.supplyAsync(x::toFloats).join();
            assertArrayEquals(new float[] {1, 1}, read);
        }
    }

    @Test
    void wrappedMemoryIsShared() {
        try (Arena arena = Arena.ofConfined()) {
            MemorySegment segment = arena.allocate(6 * Float.BYTES, 64);
            segment.setAtIndex(ValueLayout.JAVA_FLOAT, 4, 7);
            Tensor x;
            try (Scope scope = Scope.open()) {
                x = Tensor.wrap(segment, DType.F32, 2, 3);
            }
            assertArrayEquals(new float[] {0, 0, 0, 0, 7, 0}, x.toFloats());
            x.copyFrom(Tensor.of(new float[] {1, 2, 3, 4, 5, 6}, 2, 3));
            assertEquals(6, segment.getAtIndex(ValueLayout.JAVA_FLOAT, 5));
            assertEquals(segment.address(), x.segment().address());
            x.close();
            assertTrue(x.isClosed());
            assertEquals(6, segment.getAtIndex(ValueLayout.JAVA_FLOAT, 5));
            IllegalArgumentException e =
                    assertThrows(IllegalArgumentException.class, () -> Tensor.wrap(segment, DType.F32, 2, 4));
            assertEquals("Tensor.wrap: a segment of 24 bytes is not f32[2, 4], which has 32 bytes", e.getMessage());
        }
        MemorySegment heap = MemorySegment.ofArray(new float[2]);
        IllegalArgumentException e =
                assertThrows(IllegalArgumentException.class, () -> Tensor.wrap(heap, DType.F32, 2));
        assertTrue(
                requireNonNull(e.getMessage()).contains("only off-heap memory can be used without a copy"),
                e.getMessage());
    }

    @Test
    void whatAFailingBodyMadeOutsideIsFreed() {
        long live = device.memory().liveBuffers();
        try (Scope scope = Scope.open()) {
            Tensor kept = Scope.outside(() -> {
                Tensor made = Tensor.full(device, DType.F32, Shape.of(3), 1);
                Tensor.full(device, DType.F32, Shape.of(3), 2).close();
                return made;
            });
            assertThrows(
                    ArithmeticException.class,
                    () -> Scope.outside(() -> {
                        Tensor.full(device, DType.F32, Shape.of(3), 3);
                        throw new ArithmeticException("of the body's own");
                    }));
            assertEquals(live + 1, device.memory().liveBuffers());
            scope.close();
            assertEquals(1, kept.toDoubles()[2]);
            kept.close();
        }
        assertEquals(live, device.memory().liveBuffers());
    }
}
