package tessera.distill.cli;

import java.io.IOException;
import java.nio.file.Files;
import java.nio.file.Path;
import java.time.Duration;
import java.time.Instant;
import java.util.Locale;
import java.util.Spliterator;
import java.util.Spliterators.AbstractSpliterator;
import java.util.function.Consumer;
import java.util.function.Supplier;
import java.util.stream.Stream;
import java.util.stream.StreamSupport;
import org.jspecify.annotations.Nullable;
import picocli.CommandLine.Option;

/** The option {@code --timing}: where the time of a command went. For one thread. */
final class TimingOption {
    private static final Path PROCESS = Path.of("/proc/self/stat");
    private static final Path SYSTEM = Path.of("/proc/uptime");
    /** Of the times in {@link #PROCESS}, on every Linux that Java runs on. */
    private static final double TICKS_PER_SECOND = 100;
    /** Of {@link #PROCESS}, counted from behind the program's name: when the process began, in ticks since the system did. */
    private static final int BEGUN = 19;

    @Option(
            names = "--timing",
            description = "Tell where the time went, in seconds since the process began: start-up, waiting for decoded"
                    + " frames, preparing clips, computing; and how many clips and frames were looked at.")
    private boolean wanted;

    /** So many seconds may be between the two ways to tell the age of a process. */
    private static final double COARSENESS = 2;

    private double startUp;
    private long decoding;

    /**
     * Where the time of a command went, in seconds.
     *
     * @param total since the process began, the launcher's part included; what is in none of the parts is output
     * @param startUp until the student was loaded
     * @param decoding waiting for frames: while a batch is computed, FFmpeg decodes ahead, and only what is left of that counts
     * @param preparing choosing frames, resizing, copying
     * @param computing the model and its heads
     * @param clips that were looked at
     * @param frames of these clips
     */
    record Times(
            double total,
            double startUp,
            double decoding,
            double preparing,
            double computing,
            long clips,
            long frames) {

        String text() {
            return String.format(
                    Locale.ROOT,
                    "%.2f s: start-up %.2f, decoding %.2f, preparing %.2f, computing %.2f (%d %s, %d frames)",
                    total,
                    startUp,
                    decoding,
                    preparing,
                    computing,
                    clips,
                    clips == 1 ? "clip" : "clips",
                    frames);
        }
    }

    /** The command has loaded what it needs. */
    void started() {
        if (wanted) {
            startUp = secondsOfProcess();
        }
    }

    /** Counts what is done as waiting for frames. */
    <T> T decoding(Supplier<T> source) {
        long begun = System.nanoTime();
        try {
            return source.get();
        } finally {
            decoding += System.nanoTime() - begun;
        }
    }

    /** The same clips, whose coming counts as waiting for frames; closing it closes them. */
    <T> Stream<T> decoded(Stream<T> clips) {
        if (!wanted) {
            return clips;
        }
        Spliterator<T> source = clips.spliterator();
        return StreamSupport.stream(
                        new AbstractSpliterator<T>(Long.MAX_VALUE, Spliterator.ORDERED | Spliterator.NONNULL) {
                            private @Nullable T next;

                            @Override
                            public boolean tryAdvance(Consumer<? super T> each) {
                                next = null;
                                decoding(() -> source.tryAdvance(clip -> next = clip));
                                T clip = next;
                                if (clip != null) {
                                    each.accept(clip);
                                }
                                return clip != null;
                            }
                        },
                        false)
                .onClose(clips::close);
    }

    /** Does something in the midst of {@link #decoding(Supplier)} that is no waiting for frames. */
    void besides(Runnable work) {
        long begun = System.nanoTime();
        work.run();
        decoding -= System.nanoTime() - begun;
    }

    /** What has been measured by now, or null if nobody asked. */
    @Nullable
    Times times(Duration preparing, Duration computing, long clips, long frames) {
        return wanted
                ? new Times(
                        secondsOfProcess(),
                        startUp,
                        decoding / 1e9,
                        preparing.toNanos() / 1e9,
                        computing.toNanos() / 1e9,
                        clips,
                        frames)
                : null;
    }

    /**
     * How old this process is. Java tells the beginning of a process to a second on Linux, where the system does to a hundredth; what the
     * launcher's script did is in it, since Java takes over its process.
     */
    private static double secondsOfProcess() {
        double coarse = ProcessHandle.current()
                .info()
                .startInstant()
                .map(begun -> Duration.between(begun, Instant.now()).toNanos() / 1e9)
                .orElse(Double.NaN);
        try {
            return seconds(Files.readString(PROCESS), Files.readString(SYSTEM), coarse);
        } catch (IOException notLinux) {
            return coarse;
        }
    }

    /**
     * How old a process is: by the two files of Linux, unless a container tells how long it runs itself in the place of the system, from
     * whose start the times of processes count on.
     *
     * @param coarse the age to a second or two, NaN if unknown
     */
    static double seconds(String process, String system, double coarse) {
        double fine;
        try {
            String[] words = process.substring(process.lastIndexOf(')') + 2).split(" ", -1);
            fine = Double.parseDouble(system.split(" ", -1)[0]) - Double.parseDouble(words[BEGUN]) / TICKS_PER_SECOND;
        } catch (NumberFormatException | IndexOutOfBoundsException otherwise) {
            return Math.max(0, coarse);
        }
        boolean agree = Double.isNaN(coarse) ? fine >= 0 : Math.abs(fine - coarse) <= COARSENESS;
        return Math.max(0, agree ? fine : coarse);
    }
}
