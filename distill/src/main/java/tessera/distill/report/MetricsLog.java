package tessera.distill.report;

import java.io.IOException;
import java.io.RandomAccessFile;
import java.io.UncheckedIOException;
import java.nio.ByteBuffer;
import java.nio.CharBuffer;
import java.nio.charset.CharacterCodingException;
import java.nio.charset.StandardCharsets;
import java.nio.file.Files;
import java.nio.file.Path;
import java.util.ArrayList;
import java.util.LinkedHashMap;
import java.util.List;
import java.util.Map;
import org.jspecify.annotations.Nullable;
import tessera.tensor.io.WriteFailure;

/**
 * Numbers of a training run as JSON lines, {@code {"step": 12, "loss": 0.51}}, appended to a file.
 *
 * <p>Each line is handed to the operating system in one piece before {@link #write} returns, so a killed process loses
 * no line that was written. A last line that was cut short all the same is ignored and removed on resumption. Not safe for
 * use by several threads at once.
 */
public final class MetricsLog implements AutoCloseable {
    private static final String STEP = "step";

    /**
     * One line.
     *
     * @param step how many steps were done when it was written
     * @param values the numbers, in the order of the file
     */
    public record Line(long step, Map<Metric, Double> values) {}

    private record Parsed(List<Line> lines, List<Long> ends) {}

    private final Path file;
    private final RandomAccessFile open;
    private long lastStep;

    private MetricsLog(Path file, RandomAccessFile open, long lastStep) {
        this.file = file;
        this.open = open;
        this.lastStep = lastStep;
    }

    /**
     * Continues the log of a run that resumes from a checkpoint: lines of steps beyond {@code step} are dropped, and so is
     * a last line that was cut short. A file that does not exist is created.
     *
     * @param step how many steps the checkpoint has done
     * @throws IllegalArgumentException if a line before the last is damaged
     * @throws UncheckedIOException if the file cannot be read or written
     */
    public static MetricsLog resumeAt(Path file, long step) {
        try {
            Parsed parsed = Files.exists(file) ? parse(file) : new Parsed(List.of(), List.of());
            int kept = 0;
            while (kept < parsed.lines().size() && parsed.lines().get(kept).step() <= step) {
                kept++;
            }
            // No channel: that would close itself under an interrupted thread.
            RandomAccessFile open = new RandomAccessFile(file.toFile(), "rw");
            long end = kept == 0 ? 0 : parsed.ends().get(kept - 1);
            open.setLength(end);
            open.seek(end);
            return new MetricsLog(
                    file,
                    open,
                    kept == 0 ? Long.MIN_VALUE : parsed.lines().get(kept - 1).step());
        } catch (IOException e) {
            throw WriteFailure.of(file, e);
        }
    }

    /**
     * Reads a log, without a last line that was cut short.
     *
     * @throws IllegalArgumentException if a line before the last is damaged; the message names it
     * @throws UncheckedIOException if the file cannot be read
     */
    public static List<Line> read(Path file) {
        try {
            return parse(file).lines();
        } catch (IOException e) {
            throw new UncheckedIOException(file + ": the metrics log could not be read (" + e.getMessage() + ")", e);
        }
    }

    /**
     * Appends a line.
     *
     * @param step how many steps are done, no less than in the line before
     * @param values the numbers; NaN and infinities are written as strings, for JSON has none
     * @throws IllegalArgumentException if {@code step} goes back
     * @throws UncheckedIOException if the file cannot be written
     */
    public void write(long step, Map<Metric, Double> values) {
        if (step < lastStep) {
            throw new IllegalArgumentException("metrics_log: step " + step + " after step " + lastStep + " in " + file
                    + "; write steps in order, or resume the log at an earlier step");
        }
        Map<String, Object> line = new LinkedHashMap<>();
        line.put(STEP, step);
        values.forEach((metric, value) -> line.put(metric.id(), Double.isFinite(value) ? value : value.toString()));
        try {
            open.write((Json.text(line) + "\n").getBytes(StandardCharsets.UTF_8));
        } catch (IOException e) {
            throw WriteFailure.of(file, e);
        }
        lastStep = step;
    }

    @Override
    public void close() {
        try {
            open.close();
        } catch (IOException e) {
            throw WriteFailure.of(file, e);
        }
    }

    private static Parsed parse(Path file) throws IOException {
        byte[] bytes = Files.readAllBytes(file);
        List<Line> lines = new ArrayList<>();
        List<Long> ends = new ArrayList<>();
        int begin = 0;
        while (begin < bytes.length) {
            int end = begin;
            while (end < bytes.length && bytes[end] != '\n') {
                end++;
            }
            boolean last = end + 1 >= bytes.length;
            Line line = end == bytes.length ? null : parseLine(ByteBuffer.wrap(bytes, begin, end - begin));
            if (line == null && !last) {
                throw new IllegalArgumentException(file + ": line " + (lines.size() + 1)
                        + " is no JSON object of a step and numbers; repair the line or remove the file");
            }
            if (line != null) {
                lines.add(line);
                ends.add(end + 1L);
            }
            begin = end + 1;
        }
        return new Parsed(lines, ends);
    }

    /** Null if the bytes are not a whole line. */
    private static @Nullable Line parseLine(ByteBuffer bytes) {
        try {
            CharBuffer text = StandardCharsets.UTF_8.newDecoder().decode(bytes);
            Map<String, @Nullable Object> members = Json.object(text.toString());
            Map<Metric, Double> values = new LinkedHashMap<>();
            if (!(members.remove(STEP) instanceof Long step)) {
                return null;
            }
            for (Map.Entry<String, @Nullable Object> member : members.entrySet()) {
                // NaN and infinities are in quotes.
                values.put(new Metric(member.getKey()), Double.valueOf(String.valueOf(member.getValue())));
            }
            return new Line(step, values);
        } catch (CharacterCodingException | IllegalArgumentException damaged) {
            return null;
        }
    }
}
