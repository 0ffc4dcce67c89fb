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
