package tessera.distill.cli;

import java.io.Console;
import java.io.PrintStream;
import java.util.Locale;
import java.util.Map;
import java.util.function.LongSupplier;
import tessera.distill.train.Task;
import tessera.tensor.io.Printable;

/**
 * Shows how far a long task has come: one bar that redraws itself on a terminal, elsewhere a line every few seconds and one at the
 * end, or nothing. Safe for use by several threads.
 */
final class Progress implements AutoCloseable {
    /** How long from a line to the next, by the environment. */
    static double lineSeconds(Map<String, String> environment) {
        try {
            double seconds = Double.parseDouble(environment.getOrDefault(SECONDS, ""));
            return seconds >= 0 ? seconds : STANDARD_SECONDS;
        } catch (NumberFormatException e) {
            return STANDARD_SECONDS;
        }
    }

    /** How progress is shown. */
    public enum Style {
        /** A bar that redraws itself with carriage returns. */
        BAR,
        /** A line where a percent and some seconds have passed since the last, and one at the end, for logs. */
        LINES,
        /** Nothing at all. */
        QUIET;

        /** Bar if the process talks to a terminal, lines if not, quiet if asked. */
        @SuppressWarnings("SystemConsoleNull") // From Java 25 on it is null again where there is no terminal.
        public static Style detect(boolean quiet) {
            if (quiet) {
                return QUIET;
            }
            Console console = System.console();
            return console != null && console.isTerminal() ? BAR : LINES;
        }
    }

    private static final int BAR_WIDTH = 24;
    private static final long REDRAW_NANOS = 100_000_000;

    /** The environment's word for the seconds from a line to the next. */
    static final String SECONDS = "TESSERA_PROGRESS_SECONDS";

    private static final double STANDARD_SECONDS = 10;

    private final PrintStream out;
    private final Style style;
    private final Task task;
    private final double lineSeconds;
    private final LongSupplier nanoTime;
    private final long began;
    private final String filled;
    private final String empty;

    private long done;
    private double loss = Double.NaN;
    private long shownPercent;
    private long shownAt;
    private int shownWidth;

    /**
     * Begins a task; what was done before it began does not count for the rate.
     *
     * @param out where the progress goes; not closed
     * @param lineSeconds from one line to the next at least
     * @param nanoTime the clock, in nanoseconds
     */
    Progress(PrintStream out, Style style, Task task, double lineSeconds, LongSupplier nanoTime) {
        if (task.first() < 0 || task.total() < task.first()) {
            throw new IllegalArgumentException("progress: " + task.first() + " of " + task.total() + " " + task.unit()
                    + " are done at the start; pass 0 <= first <= total");
        }
        this.out = out;
        this.style = style;
        this.task = task;
        this.done = task.first();
        this.lineSeconds = lineSeconds;
        this.nanoTime = nanoTime;
        this.began = nanoTime.getAsLong();
        this.shownPercent = percent(done);
        this.shownAt = style == Style.BAR ? began - REDRAW_NANOS : began;
        boolean blocks = out.charset().newEncoder().canEncode("█░");
        this.filled = blocks ? "█" : "#";
        this.empty = blocks ? "░" : ".";
    }

    /**
     * Tells that {@code done} are done.
     *
     * @param loss the loss to show; NaN shows none
     */
    public synchronized void update(long done, double loss) {
        this.done = done;
        this.loss = loss;
        long now = nanoTime.getAsLong();
        switch (style) {
            case BAR -> {
                if (now - shownAt >= REDRAW_NANOS || done >= task.total()) {
                    redraw(now);
                }
            }
            case LINES -> {
                boolean last = done >= task.total();
                if (percent(done) > shownPercent && (last || now - shownAt >= lineSeconds * 1e9)) {
                    shownPercent = percent(done);
                    shownAt = now;
                    out.println(task.title() + "  " + status(now));
                    out.flush();
                }
            }
            case QUIET -> {}
        }
    }

    /** Prints a line above the bar, also where no progress is shown: it says what was done with the user's data. */
    public synchronized void note(String text) {
        String line = Printable.line(task.title() + ": " + text);
        if (style == Style.BAR) {
            // Spaces wipe the bar, which is drawn again below.
            out.print("\r" + line + " ".repeat(Math.max(0, shownWidth - line.length())));
            shownWidth = 0;
        } else {
            out.print(line);
        }
        out.println();
        out.flush();
    }

    /** Leaves the bar in its last state and moves on to the next line. */
    @Override
    public synchronized void close() {
        if (style == Style.BAR) {
            redraw(nanoTime.getAsLong());
            out.println();
            out.flush();
        }
    }

    private void redraw(long now) {
        shownAt = now;
        int full = task.total() == 0 ? BAR_WIDTH : Math.clamp(BAR_WIDTH * done / task.total(), 0, BAR_WIDTH);
        String line = task.title() + "  " + filled.repeat(full) + empty.repeat(BAR_WIDTH - full) + " " + status(now);
        // Spaces wipe what a longer line left behind.
        out.print("\r" + line + " ".repeat(Math.max(0, shownWidth - line.length())));
        out.flush();
        shownWidth = line.length();
    }

    private String status(long now) {
        double seconds = (now - began) / 1e9;
        double rate = (done - task.first()) / seconds;
        StringBuilder s = new StringBuilder(
                String.format(Locale.ROOT, "%3d %%  %d/%d %s", percent(done), done, task.total(), task.unit()));
        if (Double.isFinite(loss)) {
            s.append(String.format(Locale.ROOT, "  loss %.4f", loss));
        }
        if (done > task.first() && seconds > 0) {
            s.append(String.format(Locale.ROOT, rate >= 10 ? "  %.0f %s/s" : "  %.2f %s/s", rate, task.unit()));
            s.append(
                    done >= task.total()
                            ? "  took " + duration(seconds)
                            : "  " + duration((task.total() - done) / rate) + " left");
        }
        return s.toString();
    }

    private long percent(long count) {
        return task.total() == 0 ? 100 : 100 * count / task.total();
    }

    /** Minutes and seconds, with hours in front where there are any. */
    static String duration(double seconds) {
        long s = Math.round(seconds);
        return s < 3600
                ? String.format(Locale.ROOT, "%d:%02d", s / 60, s % 60)
                : String.format(Locale.ROOT, "%d:%02d:%02d", s / 3600, s / 60 % 60, s % 60);
    }
}
