package tessera.distill.data;

import java.lang.foreign.MemorySegment;
import java.lang.foreign.ValueLayout;

/** Samples of a clip in the types in which they are kept. */
final class Samples {
    private Samples() {}

    /** Bytes of a clip. */
    static long bytes(Modality modality, Geometry geometry) {
        return geometry.length(modality) * modality.layout().values().kept().bytes();
    }

    /**
     * Keeps samples.
     *
     * @param given in the type that the modality's layout gives
     * @param length numbers
     * @param to in the type in which they are kept
     */
    static void keep(Modality modality, MemorySegment given, long length, MemorySegment to) {
        switch (modality.layout().values()) {
            case BYTE -> MemorySegment.copy(given, 0, to, 0, length);
            case EXACT ->
                MemorySegment.copy(given, ValueLayout.JAVA_FLOAT_UNALIGNED, 0, to, ValueLayout.JAVA_FLOAT, 0, length);
            case REAL -> {
                for (long i = 0; i < length; i++) {
                    int bits = Float.floatToIntBits(given.getAtIndex(ValueLayout.JAVA_FLOAT, i));
                    int rounded = (bits + 0x7FFF + ((bits >>> 16) & 1)) >>> 16;
                    to.setAtIndex(ValueLayout.JAVA_SHORT, i, (short) rounded);
                }
            }
            case SHARE -> {
                for (long i = 0; i < length; i++) {
                    float share = Math.clamp(given.getAtIndex(ValueLayout.JAVA_FLOAT, i), 0f, 1f);
                    to.setAtIndex(ValueLayout.JAVA_BYTE, i, (byte) Math.round(255 * share));
                }
            }
        }
    }
}
