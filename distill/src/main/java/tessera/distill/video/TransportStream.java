package tessera.distill.video;

import java.io.BufferedInputStream;
import java.io.IOException;
import java.io.InputStream;
import java.io.OutputStream;
import java.io.RandomAccessFile;
import java.nio.file.Files;
import java.nio.file.Path;
import java.util.Arrays;
import java.util.Optional;

/**
 * MPEG transport streams (ISO/IEC 13818-1) whose only programme gets another number midway, as where recordings of several stations were
 * joined. FFmpeg takes what follows for a second programme that it was not asked for, so it is handed a copy in which all have the number
 * of the first, and their tables lie where the first one's did.
 *
 * <p>Streams of several programmes at once, and tables longer than a packet, are left as they are.
 */
final class TransportStream {
    private static final int PACKET = 188;
    /** Packets of a Blu-ray disc or camera have four bytes of time before them. */
    private static final int TIMED_PACKET = 192;

    private static final byte SYNC = 0x47;
    private static final int SYNCS = 4;

    /** So many places of a file are looked at, each so long that the table of programmes is in it, which comes ten times a second. */
    private static final int PLACES = 32;

    private static final int LOOKED_AT = 4096;
    private static final int POLYNOMIAL = 0x04C11DB7;
    private static final PerFile<Boolean> JOINED = new PerFile<>();

    private final int size;
    private final int offset;

    /** Of the first programme, -1 until it is known. */
    private int number = -1;

    private int tablePid = -1;
    /** Of the programme that is on. */
    private int currentPid = -1;

    private TransportStream(int size) {
        this.size = size;
        this.offset = size - PACKET;
    }

    /** Whether a file has programmes one after the other; false also where it cannot be read. Each file is looked through once. */
    static boolean isJoined(Path file) {
        if (!Files.isRegularFile(file)) {
            return false;
        }
        Optional<Boolean> known = JOINED.get(file);
        boolean joined = known.isPresent() ? known.get() : changesProgramme(file);
        if (known.isEmpty()) {
            JOINED.put(file, joined);
        }
        return joined;
    }

    private static boolean changesProgramme(Path file) {
        try (RandomAccessFile in = new RandomAccessFile(file.toFile(), "r")) {
            int size = packetSize(in);
            if (size == 0) {
                return false;
            }
            long packets = in.length() / size;
            int first = -1;
            byte[] bytes = new byte[LOOKED_AT * size];
            for (int place = 0; place < PLACES; place++) {
                long from = Math.max(0, packets - LOOKED_AT) * place / (PLACES - 1);
                in.seek(from * size);
                int read = Math.max(0, in.read(bytes));
                for (int at = 0; at + size <= read; at += size) {
                    byte[] packet = Arrays.copyOfRange(bytes, at + size - PACKET, at + size);
                    int[] programme = programme(packet);
                    if (programme.length > 0 && first >= 0 && programme[0] != first) {
                        return true;
                    }
                    first = first < 0 && programme.length > 0 ? programme[0] : first;
                }
                if (from + LOOKED_AT >= packets) {
                    break;
                }
            }
            return false;
        } catch (IOException unreadable) {
            return false; // who opens it is told
        }
    }

    /** Size of a packet, or 0 if the file is no such stream. */
    private static int packetSize(RandomAccessFile in) throws IOException {
        for (int size : new int[] {PACKET, TIMED_PACKET}) {
            boolean fits = in.length() >= (long) SYNCS * size;
            for (int i = 0; i < SYNCS && fits; i++) {
                in.seek((long) i * size + size - PACKET);
                fits = in.read() == SYNC;
            }
            if (fits) {
                return size;
            }
        }
        return 0;
    }

    /** Writes a joined file as one of a single programme. */
    static void copy(Path file, OutputStream out) throws IOException {
        int size;
        try (RandomAccessFile in = new RandomAccessFile(file.toFile(), "r")) {
            size = packetSize(in);
        }
        TransportStream stream = new TransportStream(size);
        try (InputStream in = new BufferedInputStream(Files.newInputStream(file), LOOKED_AT * size)) {
            byte[] packet = in.readNBytes(size);
            while (packet.length == size) {
                stream.rename(packet);
                out.write(packet);
                packet = in.readNBytes(size);
            }
        }
    }

    private void rename(byte[] timed) {
        byte[] packet = Arrays.copyOfRange(timed, offset, size);
        int[] programme = programme(packet);
        if (programme.length > 0) {
            if (number < 0) {
                number = programme[0];
                tablePid = programme[1];
            }
            currentPid = programme[1];
            int entry = programme[2];
            put16(packet, entry, number);
            put16(packet, entry + 2, 0xE000 | tablePid);
            check(packet, section(packet));
        } else if (currentPid >= 0 && pid(packet) == currentPid) {
            put16(packet, 1, ((packet[1] << 8) & 0xE000) | tablePid);
            int section = section(packet);
            if (section > 0 && packet[section] == 2 && end(packet, section) <= PACKET) {
                put16(packet, section + 3, number);
                check(packet, section);
            }
        }
        System.arraycopy(packet, 0, timed, offset, PACKET);
    }

    private static int pid(byte[] packet) {
        return get16(packet, 1) & 0x1FFF;
    }

    /** Where the section begins that a packet begins with, or 0. */
    private static int section(byte[] packet) {
        boolean begins = packet[0] == SYNC && (packet[1] & 0x40) != 0 && (packet[3] & 0x10) != 0;
        int at = 4;
        if (begins && (packet[3] & 0x20) != 0) {
            at += 1 + (packet[4] & 0xFF);
        }
        if (!begins || at >= PACKET) {
            return 0;
        }
        at += 1 + (packet[at] & 0xFF);
        return at + 8 < PACKET ? at : 0;
    }

    private static int end(byte[] packet, int section) {
        return section + 3 + (get16(packet, section + 1) & 0xFFF);
    }

    /**
     * Of a table of programmes with a single one: its number, the PID of its own table, and where its entry lies in the packet; else nothing.
     */
    private static int[] programme(byte[] packet) {
        if (packet[0] != SYNC || pid(packet) != 0) {
            return new int[0];
        }
        int section = section(packet);
        boolean whole = section > 0 && packet[section] == 0 && end(packet, section) <= PACKET;
        boolean now = whole && (packet[section + 5] & 1) != 0;
        int[] found = new int[0];
        for (int at = section + 8; now && at + 4 <= end(packet, section) - 4; at += 4) {
            int programme = get16(packet, at);
            if (programme != 0) { // 0 is the table of networks
                if (found.length > 0) {
                    return new int[0];
                }
                found = new int[] {programme, get16(packet, at + 2) & 0x1FFF, at};
            }
        }
        return found;
    }

    /** Sets the check sum at a section's end (annex A of the standard). */
    private static void check(byte[] packet, int section) {
        int end = end(packet, section) - 4;
        int sum = -1;
        for (int i = section; i < end; i++) {
            sum ^= packet[i] << 24;
            for (int bit = 0; bit < Byte.SIZE; bit++) {
                sum = (sum << 1) ^ (sum < 0 ? POLYNOMIAL : 0);
            }
        }
        put16(packet, end, sum >>> 16);
        put16(packet, end + 2, sum);
    }

    private static int get16(byte[] packet, int at) {
        return ((packet[at] & 0xFF) << 8) | (packet[at + 1] & 0xFF);
    }

    private static void put16(byte[] packet, int at, int value) {
        packet[at] = (byte) (value >> 8);
        packet[at + 1] = (byte) value;
    }
}
