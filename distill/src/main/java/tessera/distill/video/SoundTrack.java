package tessera.distill.video;

import java.io.ByteArrayOutputStream;
import java.math.BigDecimal;
import java.nio.ByteBuffer;
import java.nio.ByteOrder;
import java.nio.file.Path;
import java.time.Duration;

/** The sound of a video, read by the same program as its pictures. Thread-safe. */
public final class SoundTrack {
    /** Sound is read in memory as a whole. */
    private static final double LONGEST_SECONDS = 3600;

    private SoundTrack() {}

    /**
     * Reads a part of the sound track that the file marks as the default, or of the first, mixed to one channel. Where the track begins later or ends earlier than the part there is
     * silence.
     *
     * @param from where the part begins, in seconds from the first picture
     * @param seconds how long it is, more than 0 and at most an hour
     * @param rate samples of a second
     * @return {@code round(seconds * rate)} samples, 32768 at full scale
     * @throws VideoException if the file cannot be decoded or has no sound
     */
    public static short[] read(Path file, double from, double seconds, int rate) {
        if (!(from >= 0 && seconds > 0 && seconds <= LONGEST_SECONDS) || rate < 1) {
            throw new IllegalArgumentException("sound: " + seconds + " s from " + from + " s on, " + rate
                    + " samples a second; pass a part of more than 0 s and at most an hour, and 1 or more samples");
        }
        Duration silence = DecodeOptions.NATIVE.timeout();
        String options = Headers.read(file, DecodeOptions.NATIVE).options();
        String track = Headers.sound(file, DecodeOptions.NATIVE);
        double start = Headers.span(file, DecodeOptions.NATIVE)
                .map(Headers.Span::start)
                .orElse(0.0);
        ByteArrayOutputStream bytes = new ByteArrayOutputStream();
        try (Child child = FfmpegProgram.find().decode(arguments(options, track, start + from, seconds, rate), file)) {
            if (!child.copy(bytes, silence)) {
                throw VideoException.silent(file, silence);
            }
            boolean none = child.complaint().contains("matches no streams");
            VideoException.require(!none, file, "has no sound", "leave it or the sound out");
            if (child.exitValue() != 0) {
                throw VideoException.undecodable(file, child.reason(file));
            }
        }
        short[] samples = new short[(int) Math.round(seconds * rate)];
        ByteBuffer.wrap(bytes.toByteArray())
                .order(ByteOrder.LITTLE_ENDIAN)
                .asShortBuffer()
                .get(samples, 0, Math.min(samples.length, bytes.size() / Short.BYTES));
        return samples;
    }

    private static String arguments(String options, String track, double from, double seconds, int rate) {
        return "-nostdin -hide_banner -v error -protocol_whitelist file" + options + " -seek_timestamp 1 -ss "
                + plain(from) + " -t "
                + plain(seconds) + " -i VIDEO -map 0:" + track + " -af aresample=" + rate + ":async=1:first_pts=0"
                + " -ac 1 -f s16le pipe:1";
    }

    private static String plain(double number) {
        return BigDecimal.valueOf(number).toPlainString();
    }
}
