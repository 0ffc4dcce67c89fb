package tessera.distill.data;

import static java.util.Objects.requireNonNull;
import static org.junit.jupiter.api.Assertions.assertArrayEquals;
import static org.junit.jupiter.api.Assertions.assertEquals;
import static org.junit.jupiter.api.Assertions.assertThrows;
import static org.junit.jupiter.api.Assertions.assertTrue;

import java.io.ByteArrayInputStream;
import java.io.ByteArrayOutputStream;
import java.io.IOException;
import java.nio.ByteBuffer;
import java.nio.ByteOrder;
import java.nio.charset.StandardCharsets;
import java.nio.file.Files;
import java.nio.file.Path;
import java.util.Arrays;
import javax.sound.sampled.AudioFileFormat;
import javax.sound.sampled.AudioFormat;
import javax.sound.sampled.AudioInputStream;
import javax.sound.sampled.AudioSystem;
import org.junit.jupiter.api.Test;
import org.junit.jupiter.api.io.TempDir;

/** WAV files of every usual kind of number, as other programs write them. */
class WavFileTest {
    private static final float[] SOUND = {0, .5f, -.5f, .25f, -1, .75f};

    @TempDir
    private Path folder;

    /** A file of 16 bit PCM; channels alternate. */
    static byte[] pcm16(int rate, int channels, float[] samples) {
        ByteBuffer data = ByteBuffer.allocate(2 * samples.length).order(ByteOrder.LITTLE_ENDIAN);
        for (float sample : samples) {
            data.putShort((short) Math.round(Math.clamp(sample * 32768, -32768, 32767)));
        }
        return file(1, channels, rate, 16, data.array());
    }

    private static byte[] file(int code, int channels, int rate, int bits, byte[] data) {
        ByteBuffer format = ByteBuffer.allocate(16).order(ByteOrder.LITTLE_ENDIAN);
        format.putShort((short) code).putShort((short) channels).putInt(rate);
        format.putInt(rate * channels * bits / 8)
                .putShort((short) (channels * bits / 8))
                .putShort((short) bits);
        return riff(part("fmt ", format.array()), part("LIST", new byte[3]), part("data", data));
    }

    private static byte[] part(String name, byte[] data) {
        ByteBuffer part = ByteBuffer.allocate(8 + data.length + data.length % 2).order(ByteOrder.LITTLE_ENDIAN);
        part.put(name.getBytes(StandardCharsets.US_ASCII)).putInt(data.length).put(data);
        return part.array();
    }

    private static byte[] riff(byte[]... parts) {
        ByteArrayOutputStream out = new ByteArrayOutputStream();
        int size = 4 + Arrays.stream(parts).mapToInt(part -> part.length).sum();
        out.writeBytes("RIFF".getBytes(StandardCharsets.US_ASCII));
        out.writeBytes(ByteBuffer.allocate(4)
                .order(ByteOrder.LITTLE_ENDIAN)
                .putInt(size)
                .array());
        out.writeBytes("WAVE".getBytes(StandardCharsets.US_ASCII));
        Arrays.stream(parts).forEach(out::writeBytes);
        return out.toByteArray();
    }

    private WavFile read(byte[] bytes) throws IOException {
        return WavFile.read(Files.write(folder.resolve("a.wav"), bytes));
    }

    private static byte[] data(int bits) {
        ByteBuffer data = ByteBuffer.allocate(SOUND.length * bits / 8).order(ByteOrder.LITTLE_ENDIAN);
        for (float sample : SOUND) {
            long value = Math.round(sample * Math.pow(2, bits - 1));
            switch (bits) {
                case 8 -> data.put((byte) (value + 128));
                case 16 -> data.putShort((short) value);
                case 24 -> data.putShort((short) value).put((byte) (value >> 16));
                default -> data.putInt((int) value);
            }
        }
        return data.array();
    }

    @Test
    void numbersOfEveryKind() throws IOException {
        for (int bits : new int[] {8, 16, 24, 32}) {
            WavFile wav = read(file(1, 1, 24000, bits, data(bits)));
            assertEquals(24000, wav.rate());
            assertArrayEquals(SOUND, wav.samples(), bits + " bits");
        }
        ByteBuffer floats = ByteBuffer.allocate(4 * SOUND.length).order(ByteOrder.LITTLE_ENDIAN);
        ByteBuffer doubles = ByteBuffer.allocate(8 * SOUND.length).order(ByteOrder.LITTLE_ENDIAN);
        for (float sample : SOUND) {
            floats.putFloat(sample);
            doubles.putDouble(sample);
        }
        assertArrayEquals(SOUND, read(file(3, 1, 8000, 32, floats.array())).samples());
        assertArrayEquals(SOUND, read(file(3, 1, 8000, 64, doubles.array())).samples());
    }

    @Test
    void channelsAreAveraged() throws IOException {
        assertArrayEquals(
                new float[] {.25f, -.125f, -.125f}, read(pcm16(8000, 2, SOUND)).samples());
    }

    @Test
    void extensibleHeadersAndStreamsOfUnknownLength() throws IOException {
        ByteBuffer format = ByteBuffer.allocate(40).order(ByteOrder.LITTLE_ENDIAN);
        format.putShort((short) 0xFFFE).putShort((short) 1).putInt(48000).putInt(96000);
        format.putShort((short) 2).putShort((short) 16).putShort((short) 22).putShort((short) 16);
        format.putInt(4).putShort((short) 1);
        byte[] file = riff(part("fmt ", format.array()), part("data", data(16)));
        assertArrayEquals(SOUND, read(file).samples());
        Arrays.fill(file, file.length - data(16).length - 4, file.length - data(16).length, (byte) 0xFF);
        assertArrayEquals(SOUND, read(file).samples());
    }

    /** Recorders write RF64 for what may grow large, and tell the size elsewhere; what follows the sound is none. */
    @Test
    void largeFilesTellTheirSizeElsewhere() throws IOException {
        byte[] sizes = ByteBuffer.allocate(28)
                .order(ByteOrder.LITTLE_ENDIAN)
                .putLong(0)
                .putLong(data(16).length)
                .putLong(SOUND.length)
                .array();
        byte[] plain = file(1, 1, 8000, 16, data(16));
        byte[] format = Arrays.copyOfRange(plain, 20, 36);
        for (String kind : new String[] {"RF64", "BW64"}) {
            byte[] file =
                    riff(part("ds64", sizes), part("fmt ", format), part("data", data(16)), part("junk", new byte[8]));
            System.arraycopy(kind.getBytes(StandardCharsets.US_ASCII), 0, file, 0, 4);
            int size = file.length - 16 - data(16).length - 4;
            Arrays.fill(file, size, size + 4, (byte) 0xFF);
            assertArrayEquals(SOUND, read(file).samples(), kind);
        }
        for (int unknown : new int[] {0x80000000, 0x7FFFF024, -1}) {
            byte[] piped = plain.clone();
            ByteBuffer.wrap(piped).order(ByteOrder.LITTLE_ENDIAN).putInt(piped.length - data(16).length - 4, unknown);
            assertArrayEquals(SOUND, read(piped).samples(), "of a pipe");
        }
    }

    @Test
    void bytesTheOtherWayRound() throws IOException {
        for (int bits : new int[] {16, 24, 32}) {
            byte[] little = data(bits);
            int bytes = bits / 8;
            byte[] big = new byte[little.length];
            for (int i = 0; i < big.length; i++) {
                big[i] = little[i - i % bytes + bytes - 1 - i % bytes];
            }
            ByteBuffer file = ByteBuffer.allocate(44 + big.length);
            file.put("RIFX".getBytes(StandardCharsets.US_ASCII)).putInt(36 + big.length);
            file.put("WAVEfmt ".getBytes(StandardCharsets.US_ASCII)).putInt(16);
            file.putShort((short) 1).putShort((short) 1).putInt(8000).putInt(8000 * bytes);
            file.putShort((short) bytes).putShort((short) bits);
            file.put("data".getBytes(StandardCharsets.US_ASCII))
                    .putInt(big.length)
                    .put(big);
            WavFile wav = read(file.array());
            assertEquals(8000, wav.rate());
            assertArrayEquals(SOUND, wav.samples(), bits + " bits");
        }
    }

    @Test
    void filesOfTheJdk() throws IOException {
        AudioFormat format = new AudioFormat(16000, 24, 1, true, false);
        byte[] bytes = data(24);
        ByteArrayOutputStream out = new ByteArrayOutputStream();
        AudioSystem.write(
                new AudioInputStream(new ByteArrayInputStream(bytes), format, SOUND.length),
                AudioFileFormat.Type.WAVE,
                out);
        WavFile wav = read(out.toByteArray());
        assertEquals(16000, wav.rate());
        assertArrayEquals(SOUND, wav.samples());
    }

    @Test
    void whatIsNoSoundIsRefused() throws IOException {
        refused("is no WAV file", "no sound at all".getBytes(StandardCharsets.US_ASCII));
        byte[] whole = pcm16(8000, 1, SOUND);
        refused("holds 10 of the 12 bytes of its part 'data'", Arrays.copyOf(whole, whole.length - 2));
        refused("holds no sound", pcm16(8000, 1, new float[0]));
        refused("holds sound of code 17, 1 channels, 8000 Hz, 4 bits", file(17, 1, 8000, 4, new byte[8]));
        byte[] wide = file(1, 1, 8000, 24, new byte[12]);
        wide[32] = 4; // 24 bits in 4 bytes each
        refused("holds sound of code 1, 1 channels, 8000 Hz, 24 bits in frames of 4 bytes", wide);
        refused("does not say what its sound is", riff(part("data", new byte[8])));
        byte[] nan = ByteBuffer.allocate(8)
                .order(ByteOrder.LITTLE_ENDIAN)
                .putFloat(0)
                .putFloat(Float.NaN)
                .array();
        refused("holds NaN at sample 1", file(3, 1, 8000, 32, nan));
    }

    private void refused(String text, byte[] bytes) {
        Exception refused = assertThrows(IllegalArgumentException.class, () -> read(bytes));
        String message = requireNonNull(refused.getMessage());
        assertTrue(message.startsWith(folder.resolve("a.wav") + " " + text), message);
        assertTrue(message.endsWith("or remove the clip"), message);
    }
}
