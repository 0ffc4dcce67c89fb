package tessera.distill.video;

import java.io.BufferedInputStream;
import java.io.IOException;
import java.io.InputStream;
import java.io.StreamCorruptedException;
import java.nio.file.Path;
import java.time.Duration;
import java.util.concurrent.ArrayBlockingQueue;
import java.util.concurrent.BlockingQueue;
import java.util.concurrent.TimeUnit;
import java.util.regex.Matcher;
import java.util.regex.Pattern;
import org.jspecify.annotations.Nullable;

/**
 * Every frame that a child process decodes, with its time. The child scales frames and does nothing else with them: FFmpeg makes its
 * filters anew where a picture changes its size midway, and one that counts or chooses frames would begin again.
 *
 * <p>The child writes a line before each frame, as FFmpeg's {@code framecrc} does: number of the stream, time of decoding, time, duration,
 * bytes, check sum. Times are in units that a line {@code #tb 0: 1/90000} gives. For one thread at a time.
 */
final class FrameStream implements FrameSource {
    /** What makes the program write so, behind the filters. */
    static final String OUTPUT =
            "-fps_mode passthrough -enc_time_base -1 -threads 1 -pix_fmt rgb24 -c:v rawvideo -f tee "
                    + "[f=framecrc:flush_packets=1]pipe:1|[f=rawvideo:flush_packets=1]pipe:1";

    private static final int FRAMES_AHEAD = 2;
    private static final int LONGEST_LINE = 1000;
    private static final Pattern UNIT = Pattern.compile("#tb 0: (\\d+)/(\\d+)");
    private static final Pattern FRAME = Pattern.compile("0, *-?\\d+, *(-?\\d+), *(-?\\d+), *(\\d+), .*");
    private static final System.Logger LOG = System.getLogger(FrameStream.class.getName());

    /** Signals are the numbers to 31; the shell's and Java's way to tell of one is 128 more. */
    private static final int SIGNAL = 128;

    private static final int MOST_SIGNALS = 31;
    private static final int LARGEST_EXIT = 255;

    private static final Frame END = new Frame(new byte[0], 0, 0);

    private final Path file;
    private final Duration silence;
    private final int length;
    private final Child child;
    private final BlockingQueue<Frame> ahead = new ArrayBlockingQueue<>(FRAMES_AHEAD);
    private final Thread decoder;
    private long given;
    private boolean ended;

    /**
     * @param file for messages
     * @param silence how long the child may give no frame
     * @param length bytes of a frame
     * @param child belongs to the stream
     */
    FrameStream(Path file, Duration silence, int length, Child child) {
        this.file = file;
        this.silence = silence;
        this.length = length;
        this.child = child;
        this.decoder =
                Thread.ofPlatform().daemon().name("tessera-ffmpeg-frames").start(this::readAhead);
    }

    private void readAhead() {
        try {
            try {
                InputStream in = new BufferedInputStream(child.output());
                double unit = 1;
                for (String line = line(in); !line.isEmpty(); line = line(in)) {
                    Matcher units = UNIT.matcher(line);
                    if (units.matches()) {
                        unit = Double.parseDouble(units.group(1)) / Double.parseDouble(units.group(2));
                    }
                    if (!line.startsWith("#")) {
                        Frame frame = frame(line, in, unit);
                        if (frame.pixels().length < length) {
                            break;
                        }
                        ahead.put(frame);
                    }
                }
            } catch (IOException closed) {
                LOG.log(System.Logger.Level.DEBUG, "the decoder was stopped", closed);
            }
            ahead.put(END);
        } catch (InterruptedException end) {
            // The stream was closed: nobody waits for frames.
        }
    }

    private Frame frame(String line, InputStream in, double unit) throws IOException {
        Matcher fields = FRAME.matcher(line);
        if (!fields.matches() || !fields.group(3).equals(Integer.toString(length))) {
            throw new StreamCorruptedException("not the line of a frame: " + line);
        }
        return new Frame(
                in.readNBytes(length),
                unit * Double.parseDouble(fields.group(1)),
                Math.max(0, unit * Double.parseDouble(fields.group(2))));
    }

    /** Empty at the end. */
    private static String line(InputStream in) throws IOException {
        StringBuilder line = new StringBuilder();
        for (int c = in.read(); c >= 0 && c != '\n'; c = in.read()) {
            line.append((char) c);
            if (line.length() > LONGEST_LINE) {
                throw new StreamCorruptedException("no line where one belongs");
            }
        }
        return line.toString();
    }

    @Override
    public @Nullable Frame next() {
        if (ended) {
            return null;
        }
        Frame frame;
        try {
            frame = ahead.poll(silence.toNanos(), TimeUnit.NANOSECONDS);
        } catch (InterruptedException interruption) {
            close();
            throw Child.interrupted();
        }
        if (frame == null) {
            close();
            throw VideoException.silent(file, silence);
        }
        if (frame.pixels().length == 0) { // END
            ended = true;
            requireGoodEnd();
            return null;
        }
        given++;
        return frame;
    }

    private void requireGoodEnd() {
        if (!child.waitFor(silence)) {
            close();
            throw VideoException.silent(file, silence);
        }
        int exit = child.exitValue();
        if (isCrash(exit)) {
            throw VideoException.undecodable(
                    file, "the decoder crashed with exit code " + exit + " after " + given + " frames");
        }
        if (exit != 0 && given == 0) {
            throw VideoException.undecodable(file, child.reason(file));
        }
        if (!child.reason(file).isEmpty()) {
            LOG.log(
                    exit == 0 ? System.Logger.Level.DEBUG : System.Logger.Level.WARNING,
                    "{0}: the decoder gave {1} frames and complained ({2})",
                    file,
                    String.valueOf(given),
                    child.reason(file));
        }
    }

    /**
     * Whether a program ended by a signal, or by an exception on Windows, whose codes begin with C. FFmpeg itself ends with the lowest byte of
     * its own error numbers, which may be any number; those of errors that a file can cause are no signals'.
     */
    private static boolean isCrash(int exit) {
        return (exit > SIGNAL && exit <= SIGNAL + MOST_SIGNALS)
                || ((exit < 0 || exit > LARGEST_EXIT) && exit >>> 28 == 0xC);
    }

    @Override
    public void close() {
        ended = true;
        decoder.interrupt();
        child.close();
        ahead.clear();
    }
}
