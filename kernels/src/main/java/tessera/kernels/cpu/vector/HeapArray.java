package tessera.kernels.cpu.vector;

import java.lang.foreign.MemorySegment;
import java.lang.foreign.ValueLayout;

/** An array of the heap for runs of f32 in memory; it grows to the longest. For one thread at a time. */
class HeapArray {
    float[] values = {};

    /** The first n values become those of memory from element {@code start} on. */
    final void read(MemorySegment x, long start, int n) {
        if (values.length < n) {
            values = new float[n];
        }
        MemorySegment.copy(x, ValueLayout.JAVA_FLOAT_UNALIGNED, start * Float.BYTES, values, 0, n);
    }

    /** The way back. */
    final void write(MemorySegment y, long start, int n) {
        MemorySegment.copy(values, 0, y, ValueLayout.JAVA_FLOAT_UNALIGNED, start * Float.BYTES, n);
    }
}
