package tessera.nn.export;

import java.io.ByteArrayOutputStream;
import java.nio.charset.StandardCharsets;

/** One message in Protocol Buffers' wire format, written field by field. Not thread-safe. */
public final class Protobuf {
    private static final int VARINT = 0;
    private static final int BYTES = 2;
    private static final int FIXED32 = 5;

    private final ByteArrayOutputStream out = new ByteArrayOutputStream();

    /** An empty message. */
    public Protobuf() {}

    /** An integer or an enumerator. */
    public Protobuf number(int field, long value) {
        tag(field, VARINT);
        varint(value);
        return this;
    }

    /** A number of four bytes. */
    public Protobuf real(int field, float value) {
        tag(field, FIXED32);
        int bits = Float.floatToRawIntBits(value);
        for (int i = 0; i < Float.BYTES; i++) {
            out.write(bits >>> (8 * i));
        }
        return this;
    }

    /** A text in UTF-8. */
    public Protobuf text(int field, String value) {
        return bytes(field, value.getBytes(StandardCharsets.UTF_8));
    }

    /** A message within this one. */
    public Protobuf message(int field, Protobuf value) {
        return bytes(field, value.toBytes());
    }

    /** Bytes as they are. */
    public Protobuf bytes(int field, byte[] value) {
        tag(field, BYTES);
        varint(value.length);
        out.writeBytes(value);
        return this;
    }

    private void tag(int field, int type) {
        varint(((long) field << 3) | type);
    }

    private void varint(long value) {
        long rest = value;
        while ((rest & ~0x7FL) != 0) {
            out.write((int) ((rest & 0x7F) | 0x80));
            rest >>>= 7;
        }
        out.write((int) rest);
    }

    /** The message's bytes. */
    public byte[] toBytes() {
        return out.toByteArray();
    }
}
