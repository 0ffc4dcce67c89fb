package tessera.tensor.io;

import java.io.IOException;
import java.io.OutputStream;
import java.io.RandomAccessFile;
import java.io.UncheckedIOException;
import java.lang.foreign.Arena;
import java.lang.foreign.MemorySegment;
import java.lang.foreign.ValueLayout;
import java.nio.file.Path;
import java.util.Arrays;

/**
 * NumPy's npy format: a magic number, a short header that gives type, byte order, element order and shape, and the
 * elements. Versions 1 to 3 are read; version 1 is written, byte for byte as NumPy reads it.
 *
 * <p>Big-endian and Fortran-ordered arrays are converted to little-endian row-major order. Object arrays are pickles and
 * are refused: nothing in a file is ever executed. The memory of what is read belongs to the caller's arena. All methods
 * may be called from any thread that may use the arena.
 */
public final class Npy {
    static final String SUFFIX = ".npy";

    private Npy() {}

    /**
     * Reads an array into memory of its own, aligned to 64 bytes.
     *
     * @throws TensorFileException if the file cannot be read or is malformed in any way
     */
    public static ArrayData read(Path path, Arena arena) {
        try (Arena mapping = Arena.ofShared()) {
            Mapped mapped = mapped(path, mapping);
            MemorySegment own = arena.allocate(mapped.elements.byteSize(), 64).copyFrom(mapped.elements);
            return array(name(path), mapped.header, own, arena);
        } catch (IOException failure) {
            throw TensorFileException.unreadable(path, failure);
        } catch (InternalError fault) {
            throw TensorFileException.shortened(path.toString(), fault);
        }
    }

    /**
     * Maps an array of any size into memory; pages come in as they are touched. An array that needs conversion is read
     * instead. The file must keep its length for as long as the arena lives: where that is not certain, use {@link #read}.
     *
     * @throws TensorFileException if the file cannot be read or is malformed in any way
     */
    public static ArrayData map(Path path, Arena arena) {
        try {
            Mapped mapped = mapped(path, arena);
            if (needsConversion(mapped.header)) {
                return read(path, arena);
            }
            return array(name(path), mapped.header, mapped.elements, arena);
        } catch (IOException failure) {
            throw TensorFileException.unreadable(path, failure);
        } catch (InternalError fault) {
            throw TensorFileException.shortened(path.toString(), fault);
        }
    }

    /**
     * Writes one array; the file appears complete or not at all. The array's name is not part of the format.
     *
     * @throws TensorFileException if the format has no code for the type (BF16, F8), or the target cannot be a file
     * @throws UncheckedIOException if writing fails
     */
    public static void write(Path path, ArrayData array) {
        checkWritable(path.toString(), array);
        AtomicFile.write(path, out -> write(array, out));
    }

    /** What a file says about its array; the elements are not read. */
    static ArrayInfo info(Path path) {
        try (Arena mapping = Arena.ofShared()) {
            NpyHeader header = mapped(path, mapping).header;
            return new ArrayInfo(name(path), header.type(), header.shape());
        } catch (IOException failure) {
            throw TensorFileException.unreadable(path, failure);
        } catch (InternalError fault) {
            throw TensorFileException.shortened(path.toString(), fault);
        }
    }

    private record Mapped(NpyHeader header, MemorySegment elements) {}

    private static Mapped mapped(Path path, Arena arena) throws IOException {
        try (RandomAccessFile file = Mapping.open(path)) {
            MemorySegment mapped = Mapping.map(file, arena);
            NpyHeader header = NpyHeader.read(Mapping.stream(mapped), path.toString());
            checkSize(header, mapped.byteSize() - header.bytes(), path.toString());
            return new Mapped(header, mapped.asSlice(header.bytes()));
        }
    }

    /** Refuses an array whose bytes are not exactly those its header promises. */
    static void checkSize(NpyHeader header, long bytes, String file) {
        if (header.dataBytes() != bytes) {
            throw TensorFileException.malformed(
                    file,
                    "npy",
                    header.type() + Arrays.toString(header.shape()) + " takes " + header.dataBytes() + " bytes, but "
                            + bytes + " follow the header");
        }
    }

    static void checkWritable(String file, ArrayData array) {
        if (array.type().npyCode() == null) {
            throw new TensorFileException(
                    file,
                    "npy has no code for " + array.type() + " (array " + TensorFileException.quote(array.name()) + ")",
                    "write safetensors, or convert the array to F32");
        }
    }

    static void write(ArrayData array, OutputStream out) throws IOException {
        out.write(NpyHeader.format(array.type(), array.shape()));
        Mapping.write(array.data(), out);
    }

    private static boolean needsConversion(NpyHeader header) {
        return (header.bigEndian() && header.type().bytes() > 1)
                || (header.fortranOrder() && header.shape().length > 1);
    }

    /** The array of elements that, where conversion is needed, are writable and may be used up. */
    static ArrayData array(String name, NpyHeader header, MemorySegment elements, Arena arena) {
        long[] shape = header.shape();
        int bytes = header.type().bytes();
        MemorySegment converted = elements;
        if (header.bigEndian() && bytes > 1) {
            reverseBytes(converted, header.type() == StoredType.C64 ? bytes / 2 : bytes);
        }
        if (header.fortranOrder() && shape.length > 1 && elements.byteSize() > 0) {
            converted = arena.allocate(elements.byteSize(), 64);
            toRowMajor(elements, converted, shape, bytes);
        }
        return new ArrayData(name, header.type(), shape, converted.asReadOnly());
    }

    private static void reverseBytes(MemorySegment elements, int bytes) {
        for (long at = 0; at < elements.byteSize(); at += bytes) {
            switch (bytes) {
                case 2 ->
                    elements.set(
                            ValueLayout.JAVA_SHORT_UNALIGNED,
                            at,
                            Short.reverseBytes(elements.get(ValueLayout.JAVA_SHORT_UNALIGNED, at)));
                case 4 ->
                    elements.set(
                            ValueLayout.JAVA_INT_UNALIGNED,
                            at,
                            Integer.reverseBytes(elements.get(ValueLayout.JAVA_INT_UNALIGNED, at)));
                default ->
                    elements.set(
                            ValueLayout.JAVA_LONG_UNALIGNED,
                            at,
                            Long.reverseBytes(elements.get(ValueLayout.JAVA_LONG_UNALIGNED, at)));
            }
        }
    }

    /** Walks the target in order, the last index fastest, while {@code from} follows in the source's strides. */
    private static void toRowMajor(MemorySegment source, MemorySegment target, long[] shape, int bytes) {
        long[] strides = new long[shape.length];
        long stride = bytes;
        for (int axis = 0; axis < shape.length; axis++) {
            strides[axis] = stride;
            stride *= shape[axis];
        }
        long[] index = new long[shape.length];
        long from = 0;
        for (long to = 0; to < target.byteSize(); to += bytes) {
            switch (bytes) {
                case 1 -> target.set(ValueLayout.JAVA_BYTE, to, source.get(ValueLayout.JAVA_BYTE, from));
                case 2 ->
                    target.set(
                            ValueLayout.JAVA_SHORT_UNALIGNED, to, source.get(ValueLayout.JAVA_SHORT_UNALIGNED, from));
                case 4 ->
                    target.set(ValueLayout.JAVA_INT_UNALIGNED, to, source.get(ValueLayout.JAVA_INT_UNALIGNED, from));
                default ->
                    target.set(ValueLayout.JAVA_LONG_UNALIGNED, to, source.get(ValueLayout.JAVA_LONG_UNALIGNED, from));
            }
            for (int axis = shape.length - 1; axis >= 0; axis--) {
                from += strides[axis];
                if (++index[axis] < shape[axis]) {
                    break;
                }
                from -= strides[axis] * shape[axis];
                index[axis] = 0;
            }
        }
    }

    private static String name(Path path) {
        Path name = path.getFileName();
        String text = name == null ? "" : name.toString();
        return text.endsWith(SUFFIX) ? text.substring(0, text.length() - SUFFIX.length()) : text;
    }
}
