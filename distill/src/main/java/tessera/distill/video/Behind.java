package tessera.distill.video;

import java.io.IOException;
import java.nio.ByteBuffer;
import java.nio.channels.FileChannel;
import java.nio.file.Path;
import java.nio.file.StandardOpenOption;

/**
 * Finds a second recording behind the end of a first in one file, as where files were put together by their bytes. Players and FFmpeg show
 * the first alone in formats that tell where they end: MP4 and MOV (ISO 14496-12), Matroska and WebM (RFC 9559).
 */
final class Behind {
    private static final int LONGEST_HEAD = 16;
    private static final int MOST_BOXES = 1000;
    private static final int EBML = 0x1A45DFA3;
    private static final int SEGMENT = 0x18538067;

    private Behind() {}

    /**
     * Whether there is one.
     *
     * @param format in FFmpeg's word
     */
    static boolean isAnother(Path file, String format) {
        try (FileChannel in = FileChannel.open(file, StandardOpenOption.READ)) {
            return format.startsWith("mov,")
                    ? hasSecondMovie(in)
                    : format.startsWith("matroska") && hasSecondSegment(in);
        } catch (IOException | IllegalArgumentException unreadable) {
            return false; // who decodes it will say so
        }
    }

    private static ByteBuffer head(FileChannel in, long at) throws IOException {
        ByteBuffer head = ByteBuffer.allocate(LONGEST_HEAD);
        in.read(head, at);
        return head.flip();
    }

    /** Whether a file type follows pictures. Of fragments it may be repeated, and then all are shown. */
    private static boolean hasSecondMovie(FileChannel in) throws IOException {
        boolean pictures = false;
        boolean index = false;
        long at = 0;
        for (int box = 0; box < MOST_BOXES && at < in.size(); box++) {
            ByteBuffer head = head(in, at);
            if (head.limit() < 8) {
                return false;
            }
            long size = head.getInt(0) & 0xFFFFFFFFL;
            int name = head.getInt(4);
            if (size == 1 && head.limit() == LONGEST_HEAD) {
                size = head.getLong(8);
            }
            if (name == fourLetters("moof") || size < 8) {
                return false;
            }
            if (name == fourLetters("ftyp") && pictures && index) {
                return true;
            }
            pictures |= name == fourLetters("mdat");
            index |= name == fourLetters("moov");
            at = Math.addExact(at, size);
        }
        return false;
    }

    private static int fourLetters(String name) {
        return name.charAt(0) << 24 | name.charAt(1) << 16 | name.charAt(2) << 8 | name.charAt(3);
    }

    private static boolean hasSecondSegment(FileChannel in) throws IOException {
        long at = 0;
        boolean segment = false;
        while (at < in.size()) {
            ByteBuffer head = head(in, at);
            if (head.limit() < 5) {
                return false;
            }
            int id = head.getInt(0);
            if (segment) {
                return id == EBML;
            }
            int bytes = Integer.numberOfLeadingZeros(head.get(4) & 0xFF) - 23;
            if ((id != EBML && id != SEGMENT) || bytes > 8 || head.limit() < 4 + bytes) {
                return false;
            }
            long size = (head.get(4) & 0xFF) & ((1L << (8 - bytes)) - 1);
            for (int i = 1; i < bytes; i++) {
                size = size << 8 | (head.get(4 + i) & 0xFF);
            }
            if (size == (1L << (7 * bytes)) - 1) {
                return false; // it goes on to the end of the file, as of a live stream
            }
            segment = id == SEGMENT;
            at = Math.addExact(at, 4 + bytes + size);
        }
        return false;
    }
}
