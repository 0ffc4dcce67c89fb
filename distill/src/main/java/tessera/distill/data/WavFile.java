package tessera.distill.data;

import java.io.IOException;
import java.nio.ByteBuffer;
import java.nio.ByteOrder;
import java.nio.charset.StandardCharsets;
import java.nio.file.Files;
import java.nio.file.Path;
import java.util.Set;
import org.jspecify.annotations.Nullable;
import tessera.tensor.io.AtomicFile;

/**
 * Sound of a WAV file (RIFF, RF64 of recorders whose files grow large, or RIFX with its bytes the other way round): PCM of 8, 16, 24 or 32
 * bits, or floats of 32 or 64, of any number of channels, whose mean it is.
 *
 * @param rate samples of a second
 * @param samples full scale is 1
 */
record WavFile(int rate, float[] samples) {
    private static final int PCM = 1;
    private static final int FLOAT = 3;
    private static final int EXTENSIBLE = 0xFFFE;

    /** Of a file with the parts fmt and data. */
    private static final int HEADER_BYTES = 44;

    /** Sizes from here on are written by programs that do not know them, because they write to a pipe; RF64 tells them elsewhere. */
    private static final long UNKNOWN = 0x7FFF0000L;

    /**
     * What the chunk {@code fmt} says.
     *
     * @param frame bytes of one sample of all channels, 0 if it does not say
     */
    private record Format(int code, int channels, int rate, int frame, int bits) {
        boolean known() {
            boolean fits = code == PCM
                    ? Set.of(8, 16, 24, 32).contains(bits)
                    : code == FLOAT && Set.of(32, 64).contains(bits);
            return fits && channels > 0 && rate > 0 && (frame == 0 || frame == frameBytes());
        }

        int frameBytes() {
            return channels * bits / 8;
        }
    }

    /**
     * Reads a file.
     *
     * @throws IllegalArgumentException if it cannot be read, is cut off, or holds other sound
     */
    static WavFile read(Path file) {
        ByteBuffer bytes;
        try {
            bytes = ByteBuffer.wrap(Files.readAllBytes(file));
        } catch (IOException e) {
            throw new IllegalArgumentException(
                    file + " cannot be read (" + e.getMessage() + "); check that it is there and may be read", e);
        }
        String kind = bytes.limit() < 12 ? "" : name(bytes, 0);
        if (!Set.of("RIFF", "RIFX", "RF64", "BW64").contains(kind)
                || !name(bytes, 8).equals("WAVE")) {
            throw wrong(file, "is no WAV file");
        }
        ByteOrder order = kind.equals("RIFX") ? ByteOrder.BIG_ENDIAN : ByteOrder.LITTLE_ENDIAN;
        bytes.order(order);
        Format format = null;
        long told = Long.MAX_VALUE;
        for (int at = 12; at + 8 <= bytes.limit(); ) {
            String name = name(bytes, at);
            long size = bytes.getInt(at + 4) & 0xFFFFFFFFL;
            int rest = bytes.limit() - at - 8;
            if (name.equals("data") && size >= UNKNOWN) {
                size = told < Long.MAX_VALUE ? told : rest;
            }
            if (size > rest) {
                throw wrong(file, "holds " + rest + " of the " + size + " bytes of its part '" + name + "'");
            }
            ByteBuffer part = bytes.slice(at + 8, (int) size).order(order);
            if (name.equals("ds64") && size >= 16) {
                told = part.getLong(8);
            } else if (name.equals("fmt ")) {
                format = format(file, part);
            } else if (name.equals("data")) {
                return decode(file, format, part);
            }
            at = (int) Math.min(bytes.limit(), at + 8 + size + (size & 1));
        }
        throw wrong(file, "holds no sound");
    }

    /** Writes sound of one channel in 16 bits; 32768 is full scale. */
    static void write(Path file, int rate, short[] samples) {
        int bytes = Short.BYTES * samples.length;
        ByteBuffer wav = ByteBuffer.allocate(HEADER_BYTES + bytes).order(ByteOrder.LITTLE_ENDIAN);
        wav.put(ascii("RIFF"))
                .putInt(HEADER_BYTES - 8 + bytes)
                .put(ascii("WAVEfmt "))
                .putInt(16);
        wav.putShort((short) PCM).putShort((short) 1).putInt(rate).putInt(Short.BYTES * rate);
        wav.putShort((short) Short.BYTES).putShort((short) Short.SIZE);
        wav.put(ascii("data")).putInt(bytes);
        wav.asShortBuffer().put(samples);
        AtomicFile.write(file, out -> out.write(wav.array()));
    }

    private static byte[] ascii(String word) {
        return word.getBytes(StandardCharsets.US_ASCII);
    }

    private static String name(ByteBuffer bytes, int at) {
        StringBuilder name = new StringBuilder();
        for (int i = at; i < at + 4; i++) {
            char letter = (char) (bytes.get(i) & 0xFF);
            name.append(letter >= ' ' && letter < 127 ? letter : '?');
        }
        return name.toString();
    }

    private static Format format(Path file, ByteBuffer part) {
        if (part.limit() < 16) {
            throw wrong(file, "does not say what its sound is");
        }
        int code = part.getShort(0) & 0xFFFF;
        if (code == EXTENSIBLE && part.limit() >= 26) {
            code = part.getShort(24) & 0xFFFF;
        }
        Format format = new Format(
                code,
                part.getShort(2) & 0xFFFF,
                part.getInt(4),
                part.getShort(12) & 0xFFFF,
                part.getShort(14) & 0xFFFF);
        if (!format.known()) {
            throw wrong(
                    file,
                    "holds sound of code " + code + ", " + format.channels + " channels, " + format.rate + " Hz, "
                            + format.bits + " bits in frames of " + format.frame + " bytes");
        }
        return format;
    }

    private static WavFile decode(Path file, @Nullable Format format, ByteBuffer data) {
        if (format == null) {
            throw wrong(file, "does not say what its sound is");
        }
        int count = data.limit() / format.frameBytes();
        if (count == 0) {
            throw wrong(file, "holds no sound");
        }
        int bytes = format.bits / 8;
        float[] samples = new float[count];
        for (int i = 0; i < count; i++) {
            double sum = 0;
            for (int channel = 0; channel < format.channels; channel++) {
                sum += sample(format, data, (i * format.channels + channel) * bytes);
            }
            samples[i] = (float) (sum / format.channels);
            if (!Float.isFinite(samples[i])) {
                throw wrong(file, "holds " + samples[i] + " at sample " + i);
            }
        }
        return new WavFile(format.rate, samples);
    }

    private static double sample(Format format, ByteBuffer data, int at) {
        if (format.code == FLOAT) {
            return format.bits == 32 ? data.getFloat(at) : data.getDouble(at);
        }
        return switch (format.bits) {
            case 8 -> ((data.get(at) & 0xFF) - 128) / 128.0;
            case 16 -> data.getShort(at) / 32768.0;
            case 24 ->
                (data.order() == ByteOrder.LITTLE_ENDIAN
                                ? (data.get(at + 2) << 16) | (data.getShort(at) & 0xFFFF)
                                : (data.get(at) << 16) | (data.getShort(at + 1) & 0xFFFF))
                        / 8388608.0;
            default -> data.getInt(at) / 2147483648.0;
        };
    }

    private static IllegalArgumentException wrong(Path file, String what) {
        return new IllegalArgumentException(
                file + " " + what + "; give a whole WAV file of 8 to 32 bit PCM or of floats, or remove the clip");
    }
}
