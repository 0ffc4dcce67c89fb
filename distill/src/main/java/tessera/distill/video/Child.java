package tessera.distill.video;

import java.io.BufferedReader;
import java.io.IOException;
import java.io.InputStream;
import java.io.InterruptedIOException;
import java.io.OutputStream;
import java.io.UncheckedIOException;
import java.nio.charset.StandardCharsets;
import java.nio.file.Path;
import java.time.Duration;
import java.util.List;
import java.util.concurrent.TimeUnit;
import java.util.concurrent.atomic.AtomicLong;
import java.util.function.Consumer;
import org.jspecify.annotations.Nullable;

/**
 * A child process whose complaints (standard error) are read by a thread of their own, so that it never waits for a
 * reader of them. Closing kills it and waits until nothing of it is left.
 */
final class Child implements AutoCloseable {
    private static final int LONGEST_COMPLAINT = 400;

    private final Process process;
    private final Thread listener;
    private volatile String complaint = "";

    /** A child that is given nothing to read. */
    Child(Process process) throws IOException {
        this(process, null);
        process.getOutputStream().close();
    }

    /** Writes what a child reads. */
    @FunctionalInterface
    interface Feed {
        /** Called in a thread of its own. */
        void to(OutputStream in) throws IOException;
    }

    /** @param feed what the child reads, or null where the caller closes that */
    private Child(Process process, @Nullable Feed feed) {
        this.process = process;
        if (feed != null) {
            Thread.ofPlatform().daemon().name("tessera-ffmpeg-input").start(() -> feed(feed));
        }
        listener = Thread.ofPlatform().daemon().name("tessera-ffmpeg-errors").start(this::listen);
    }

    /** A child that reads what it is fed. */
    static Child fed(Process process, Feed feed) {
        return new Child(process, feed);
    }

    private void feed(Feed feed) {
        try (OutputStream in = process.getOutputStream()) {
            feed.to(in);
        } catch (IOException closed) {
            // The child wants no more, or was killed.
        }
    }

    private void listen() {
        try (BufferedReader reader = process.errorReader(StandardCharsets.UTF_8)) {
            char[] buffer = new char[8192];
            StringBuilder head = new StringBuilder();
            for (int n = reader.read(buffer); n >= 0; n = reader.read(buffer)) {
                if (head.length() < buffer.length) {
                    head.append(buffer, 0, n);
                    complaint = firstLine(head.toString());
                }
            }
        } catch (IOException closed) {
            // The child was killed: nobody asks for its last words.
        }
    }

    /** Without the name and address of the reporting component, for example {@code [mov @ 0x55d0c8]}. */
    private static String firstLine(String text) {
        String line = text.strip()
                .lines()
                // The system's loader, of a stand-in; see CarriedProgram.
                .filter(said -> !said.contains("no version information available"))
                .findFirst()
                .orElse("")
                .replaceAll("^(\\[[^\\]]* @ 0x[0-9a-f]+\\] *)+", "");
        return line.length() <= LONGEST_COMPLAINT ? line : line.substring(0, LONGEST_COMPLAINT) + "…";
    }

    InputStream output() {
        return process.getInputStream();
    }

    /**
     * Hands over what the child writes, line by line as it comes, until it ends.
     *
     * @param silence how long it may write nothing
     * @return whether it ended; false where it fell silent
     */
    boolean listen(Consumer<String> lines, Duration silence) {
        return follow(silence, heard -> {
            try (BufferedReader output = process.inputReader(StandardCharsets.UTF_8)) {
                for (String line = output.readLine(); line != null; line = output.readLine()) {
                    lines.accept(line);
                    heard.incrementAndGet();
                }
            } catch (IOException closed) {
                // The child was killed: nobody asks what else it had to say.
            }
        });
    }

    /** As {@link #listen}, of bytes. */
    boolean copy(OutputStream to, Duration silence) {
        return follow(silence, heard -> {
            byte[] buffer = new byte[1 << 16];
            try (InputStream output = output()) {
                for (int n = output.read(buffer); n >= 0; n = output.read(buffer)) {
                    to.write(buffer, 0, n);
                    heard.incrementAndGet();
                }
            } catch (IOException closed) {
                // As above.
            }
        });
    }

    /** Lets a thread read what the child writes, and waits for both as long as something comes. */
    private boolean follow(Duration silence, Consumer<AtomicLong> reading) {
        AtomicLong heard = new AtomicLong();
        Thread reader =
                Thread.ofPlatform().daemon().name("tessera-ffmpeg-output").start(() -> reading.accept(heard));
        try {
            long before;
            do {
                before = heard.get();
                if (reader.join(silence)) {
                    return waitFor(silence);
                }
            } while (heard.get() != before);
            return false;
        } catch (InterruptedException interruption) {
            throw interrupted();
        }
    }

    /** Whether the child ended within the limit; its complaints are complete then. */
    boolean waitFor(Duration limit) {
        try {
            boolean ended = process.waitFor(limit.toNanos(), TimeUnit.NANOSECONDS);
            if (ended) {
                listener.join(limit);
            }
            return ended;
        } catch (InterruptedException interruption) {
            throw interrupted();
        }
    }

    int exitValue() {
        return process.exitValue();
    }

    /** The first thing the child complained about, or an empty text. */
    String complaint() {
        return complaint;
    }

    /** The first complaint without the name of the file, which messages begin with. */
    String reason(Path file) {
        return complaint.replace(FfmpegProgram.url(file) + ": ", "");
    }

    /** What a thread gets that is interrupted while it waits; the interrupt stays set. */
    static UncheckedIOException interrupted() {
        Thread.currentThread().interrupt();
        return new UncheckedIOException(new InterruptedIOException("reading a video was interrupted"));
    }

    @Override
    public void close() {
        // A program named by the user may be a script that started the real one.
        List<ProcessHandle> descendants = process.descendants().toList();
        process.destroyForcibly();
        descendants.forEach(ProcessHandle::destroyForcibly);
        boolean interrupted = false;
        while (true) {
            try {
                process.waitFor();
                listener.join();
                break;
            } catch (InterruptedException again) {
                interrupted = true;
            }
        }
        try {
            process.getInputStream().close();
        } catch (IOException ignored) {
            // Its only use was the child, which is gone.
        }
        if (interrupted) {
            Thread.currentThread().interrupt();
        }
    }
}
