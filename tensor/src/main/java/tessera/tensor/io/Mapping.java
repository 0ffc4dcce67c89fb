package tessera.tensor.io;

import java.io.IOException;
import java.io.InputStream;
import java.io.OutputStream;
import java.io.RandomAccessFile;
import java.lang.foreign.Arena;
import java.lang.foreign.MemorySegment;
import java.lang.foreign.ValueLayout;
import java.nio.channels.FileChannel;
import java.nio.file.FileSystems;
import java.nio.file.Files;
import java.nio.file.Path;

/** Read-only mapped files of any size, and streams between memory and files. */
final class Mapping {
    private static final int CHUNK = 1 << 20;

    private Mapping() {}

    /** Opens an existing ordinary file for reading. Its length can be asked from any thread, interrupted or not. */
    static RandomAccessFile open(Path path) throws IOException {
        if (!path.getFileSystem().equals(FileSystems.getDefault())) {
            throw new TensorFileException(
                    path.toString(), "lies in a virtual file system", "copy it to an ordinary directory");
        }
        if (!Files.exists(path)) {
            throw new TensorFileException(path.toString(), "no such file", "check the path");
        }
        if (!Files.isRegularFile(path)) {
            throw new TensorFileException(path.toString(), "is no ordinary file", "name a file to read");
        }
        return new RandomAccessFile(path.toFile(), "r");
    }

    /** Maps the whole file; the memory lives as long as {@code arena} and outlives {@code file}. */
    static MemorySegment map(RandomAccessFile file, Arena arena) throws IOException {
        // A channel closes itself under a thread that is interrupted; reading a file is nothing to be interrupted at.
        boolean interrupted = Thread.interrupted();
        try {
            return file.getChannel().map(FileChannel.MapMode.READ_ONLY, 0, file.length(), arena);
        } finally {
            if (interrupted) {
                Thread.currentThread().interrupt();
            }
        }
    }

    /** A stream over a segment, whatever its size. */
    static InputStream stream(MemorySegment segment) {
        return new InputStream() {
            private long position;

            @Override
            public int read() {
                return position < segment.byteSize()
                        ? Byte.toUnsignedInt(segment.get(ValueLayout.JAVA_BYTE, position++))
                        : -1;
            }

            @Override
            public int read(byte[] target, int offset, int length) {
                if (length == 0) {
                    return 0;
                }
                int count = (int) Math.min(length, segment.byteSize() - position);
                if (count == 0) {
                    return -1;
                }
                MemorySegment.copy(segment, ValueLayout.JAVA_BYTE, position, target, offset, count);
                position += count;
                return count;
            }
        };
    }

    /** Writes a segment of any size. */
    static void write(MemorySegment segment, OutputStream out) throws IOException {
        byte[] chunk = new byte[(int) Math.min(CHUNK, segment.byteSize())];
        for (long position = 0; position < segment.byteSize(); position += chunk.length) {
            int count = (int) Math.min(chunk.length, segment.byteSize() - position);
            MemorySegment.copy(segment, ValueLayout.JAVA_BYTE, position, chunk, 0, count);
            out.write(chunk, 0, count);
        }
    }
}
