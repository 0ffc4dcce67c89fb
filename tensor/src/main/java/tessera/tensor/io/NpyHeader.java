package tessera.tensor.io;

import java.io.IOException;
import java.io.InputStream;
import java.nio.ByteBuffer;
import java.nio.ByteOrder;
import java.nio.charset.StandardCharsets;
import java.util.Arrays;
import org.jspecify.annotations.Nullable;

/**
 * The checked header of one npy array.
 *
 * @param bytes size of the header, magic bytes included
 */
record NpyHeader(StoredType type, boolean bigEndian, boolean fortranOrder, long[] shape, int bytes) {
    private static final byte[] MAGIC = {(byte) 0x93, 'N', 'U', 'M', 'P', 'Y'};
    private static final int ALIGNMENT = 64;

    /** Longest header text accepted. A shape of 64 dimensions takes less than 2 KiB; only structured types need more. */
    private static final int MAX_TEXT = 1 << 16;

    static boolean startsLikeNpy(byte[] start) {
        return start.length >= MAGIC.length && Arrays.equals(start, 0, MAGIC.length, MAGIC, 0, MAGIC.length);
    }

    /** Size of the elements in bytes. */
    long dataBytes() {
        return type.byteSize(shape);
    }

    /** Reads a header and leaves the stream at the first element. */
    static NpyHeader read(InputStream in, String file) throws IOException {
        byte[] magic = in.readNBytes(MAGIC.length + 2);
        if (magic.length < MAGIC.length + 2 || !startsLikeNpy(magic)) {
            throw malformed(file, "it does not begin with the bytes of an npy array");
        }
        int version = magic[MAGIC.length];
        if (version < 1 || version > 3 || magic[MAGIC.length + 1] != 0) {
            throw new TensorFileException(
                    file,
                    "has npy version " + Byte.toUnsignedInt(magic[MAGIC.length]) + "."
                            + Byte.toUnsignedInt(magic[MAGIC.length + 1]) + " (supported: 1.0, 2.0, 3.0)",
                    "save it again with a current NumPy");
        }
        byte[] field = in.readNBytes(version == 1 ? Short.BYTES : Integer.BYTES);
        if (field.length < (version == 1 ? Short.BYTES : Integer.BYTES)) {
            throw malformed(file, "it ends before the header's length");
        }
        ByteBuffer lengthField = ByteBuffer.wrap(field).order(ByteOrder.LITTLE_ENDIAN);
        long length = version == 1
                ? Short.toUnsignedLong(lengthField.getShort())
                : Integer.toUnsignedLong(lengthField.getInt());
        if (length > MAX_TEXT) {
            throw malformed(
                    file, "it claims a header of " + length + " bytes, and at most " + MAX_TEXT + " are accepted");
        }
        byte[] text = in.readNBytes((int) length);
        if (text.length < length) {
            throw malformed(file, "it ends within its header");
        }
        return new Literal(file, version, new String(text, StandardCharsets.ISO_8859_1))
                .header(magic.length + field.length + text.length);
    }

    /** The bytes of a header, padded so that the elements start at a multiple of 64. */
    static byte[] format(StoredType type, long[] shape) {
        StringBuilder text = new StringBuilder("{'descr': '")
                .append(type.bytes() == 1 ? '|' : '<')
                .append(type.npyCode())
                .append("', 'fortran_order': False, 'shape': (");
        for (int i = 0; i < shape.length; i++) {
            text.append(i == 0 ? "" : ", ").append(shape[i]);
        }
        text.append(shape.length == 1 ? ",), }" : "), }");
        int prefix = MAGIC.length + 2 + Short.BYTES;
        while ((prefix + text.length() + 1) % ALIGNMENT != 0) {
            text.append(' ');
        }
        text.append('\n');
        return ByteBuffer.allocate(prefix + text.length())
                .order(ByteOrder.LITTLE_ENDIAN)
                .put(MAGIC)
                .put((byte) 1)
                .put((byte) 0)
                .putShort((short) text.length())
                .put(text.toString().getBytes(StandardCharsets.US_ASCII))
                .array();
    }

    private static TensorFileException malformed(String file, String problem) {
        return TensorFileException.malformed(file, "npy", problem);
    }

    /**
     * The part of Python's literals that a header may use: one dict of a string, a truth value and a tuple. As in NumPy's own reader,
     * strings may be u'...' and numbers end in the L of Python 2, which wrote no version 3.
     */
    private static final class Literal {
        private final String file;
        private final boolean python2;
        private final String text;
        private int position;

        Literal(String file, int version, String text) {
            this.file = file;
            this.python2 = version < 3;
            this.text = text;
        }

        NpyHeader header(int bytes) {
            String descr = null;
            Boolean fortranOrder = null;
            long[] shape = null;
            take('{');
            while (!peek('}')) {
                String key = string();
                take(':');
                switch (key) {
                    case "descr" -> {
                        once(descr, key);
                        if (peek('[')) {
                            throw unsupported("a structured dtype", "save each field as an array of its own");
                        }
                        descr = string();
                    }
                    case "fortran_order" -> {
                        once(fortranOrder, key);
                        fortranOrder = truth();
                    }
                    case "shape" -> {
                        once(shape, key);
                        shape = tuple();
                    }
                    default -> throw invalid("has the unknown key " + TensorFileException.quote(key));
                }
                if (!peek('}')) {
                    take(',');
                }
            }
            take('}');
            skipSpace();
            if (position != text.length()) {
                throw invalid("goes on after its closing brace");
            }
            if (descr == null || fortranOrder == null || shape == null) {
                throw invalid("needs the keys descr, fortran_order and shape");
            }
            StoredType type = type(descr);
            try {
                type.byteSize(shape);
            } catch (IllegalArgumentException tooLarge) {
                throw TensorFileException.malformed(file, "npy", String.valueOf(tooLarge.getMessage()), tooLarge);
            }
            boolean big = descr.startsWith(">")
                    || (!descr.startsWith("<") && ByteOrder.nativeOrder() == ByteOrder.BIG_ENDIAN);
            return new NpyHeader(type, big, fortranOrder, shape, bytes);
        }

        private StoredType type(String descr) {
            if (descr.contains("O")) {
                throw unsupported(
                        "Python objects (a pickle), which are never read", "save it with a numeric dtype in NumPy");
            }
            boolean ordered = !descr.isEmpty() && "<>=|".indexOf(descr.charAt(0)) >= 0;
            StoredType type = StoredType.ofNpyCode(ordered ? descr.substring(1) : descr);
            if (type == null && !ordered) {
                type = StoredType.ofNumpyName(descr);
            }
            if (type == null) {
                throw unsupported(
                        "the dtype " + TensorFileException.quote(descr),
                        "save it as b1, i1, u1, i2, u2, i4, u4, i8, u8, f2, f4, f8 or c8");
            }
            return type;
        }

        private void once(@Nullable Object earlier, String key) {
            if (earlier != null) {
                throw invalid("gives " + key + " twice");
            }
        }

        private String string() {
            skipSpace();
            if (position + 1 < text.length()
                    && "uUrR".indexOf(text.charAt(position)) >= 0
                    && "'\"".indexOf(text.charAt(position + 1)) >= 0) {
                position++;
            }
            char quote = position < text.length() ? text.charAt(position) : ' ';
            if (quote != '\'' && quote != '"') {
                throw invalid("needs a quoted string at character " + position);
            }
            int end = text.indexOf(quote, position + 1);
            if (end < 0) {
                throw invalid("has a string without an end at character " + position);
            }
            String value = text.substring(position + 1, end);
            position = end + 1;
            return value;
        }

        private boolean truth() {
            skipSpace();
            for (String word : new String[] {"True", "False"}) {
                if (text.startsWith(word, position)) {
                    position += word.length();
                    return word.equals("True");
                }
            }
            throw invalid("needs True or False at character " + position);
        }

        private long[] tuple() {
            long[] values = new long[StoredType.MAX_RANK];
            int count = 0;
            take('(');
            while (!peek(')')) {
                if (count == values.length) {
                    throw invalid("has more than " + values.length + " dimensions");
                }
                values[count++] = number();
                // (3) is a number in Python, not a tuple; only from the second dimension on is the last comma optional.
                if (count == 1 || !peek(')')) {
                    take(',');
                }
            }
            take(')');
            return Arrays.copyOf(values, count);
        }

        private long number() {
            skipSpace();
            int begin = position;
            while (position < text.length() && text.charAt(position) >= '0' && text.charAt(position) <= '9') {
                position++;
            }
            int end = position;
            if (python2 && end > begin && peek('L')) {
                position++;
            }
            try {
                return Long.parseLong(text, begin, end, 10);
            } catch (NumberFormatException notOne) {
                throw TensorFileException.malformed(
                        file, "npy", "its header needs a whole number under 2^63 at character " + begin, notOne);
            }
        }

        private boolean peek(char wanted) {
            skipSpace();
            return position < text.length() && text.charAt(position) == wanted;
        }

        private void take(char wanted) {
            if (!peek(wanted)) {
                throw invalid("needs '" + wanted + "' at character " + position);
            }
            position++;
        }

        private void skipSpace() {
            while (position < text.length() && " \t\n\r".indexOf(text.charAt(position)) >= 0) {
                position++;
            }
        }

        private TensorFileException invalid(String problem) {
            return malformed(file, "its header " + problem);
        }

        private TensorFileException unsupported(String what, String remedy) {
            return new TensorFileException(file, "holds " + what, remedy);
        }
    }
}
