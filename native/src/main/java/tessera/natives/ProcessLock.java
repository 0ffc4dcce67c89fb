package tessera.natives;

import java.io.IOException;
import java.nio.channels.FileChannel;
import java.nio.channels.OverlappingFileLockException;
import java.nio.file.Files;
import java.nio.file.Path;
import java.nio.file.StandardOpenOption;
import java.time.Instant;
import java.util.Optional;

/**
 * Tells what a living process works on from what a killed one left: by locks on files, which end with their process however it ends, and
 * by marks of processes in the names of files. Thread-safe.
 *
 * <p>Whatever this process has locked is known by the mark in its name alone, for to open such a file and close it again would end the
 * lock; so it is known to every class loader that has this class.
 */
public final class ProcessLock {
    /** Of this process alone: its number and when it began. */
    public static final String OWN = mark(ProcessHandle.current());

    private ProcessLock() {}

    private static String mark(ProcessHandle process) {
        Optional<Instant> began = process.info().startInstant();
        return process.pid() + "-" + began.map(Instant::toEpochMilli).orElse(0L);
    }

    /** Whether the process of a mark lives, on this machine. */
    public static boolean isAlive(String mark) {
        try {
            return ProcessHandle.of(Long.parseLong(mark.replaceFirst("-.*", "")))
                    .filter(process -> mark(process).equals(mark))
                    .isPresent();
        } catch (NumberFormatException e) {
            return false;
        }
    }

    /**
     * Holds a file until the channel is closed, which happens to a process that is killed too.
     *
     * @return false if another holds it; true also on file systems without locks
     */
    public static boolean hold(FileChannel file) {
        try {
            return file.tryLock() != null;
        } catch (OverlappingFileLockException held) {
            return false;
        } catch (IOException noLocksHere) {
            return true;
        }
    }

    /** What is done with what a killed process left. */
    @FunctionalInterface
    public interface Removal {
        void remove() throws IOException;
    }

    /** Removes what a file stands for, and the file, unless a process holds the file or nobody can tell. */
    public static void removeUnlessHeld(Path file, Removal removal) {
        if (String.valueOf(file.getFileName()).contains("-" + OWN + "-")) {
            return;
        }
        try (FileChannel channel = FileChannel.open(file, StandardOpenOption.WRITE)) {
            if (channel.tryLock() != null) {
                removal.remove();
                Files.deleteIfExists(file);
            }
        } catch (IOException | OverlappingFileLockException held) {
            // Gone by now, another user's, or on a file system without locks, where nobody can tell.
        }
    }
}
