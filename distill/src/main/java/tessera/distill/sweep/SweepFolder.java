package tessera.distill.sweep;

import java.io.IOException;
import java.io.UncheckedIOException;
import java.nio.charset.StandardCharsets;
import java.nio.file.Files;
import java.nio.file.Path;
import java.util.ArrayList;
import java.util.List;
import java.util.stream.Stream;
import tessera.distill.train.Settings;
import tessera.tensor.io.AtomicFile;
import tessera.tensor.io.FolderLock;
import tessera.tensor.io.WriteFailure;

/**
 * Where a sweep keeps what it has measured: {@code settings.json} and a file for each finished cell in {@code cells}. Every file appears
 * under its name complete or not at all, so a sweep may be killed at any time. One sweep at a time has it, until it is closed; any thread may close it.
 */
public final class SweepFolder implements AutoCloseable {
    private static final String SETTINGS = "settings.json";
    private static final String CELLS = "cells";
    private static final String ENDING = ".json";

    private final Path root;
    private final FolderLock held;

    private SweepFolder(Path root, FolderLock held) {
        this.root = root;
        this.held = held;
    }

    /**
     * Opens a folder, which is made if it does not exist, and {@linkplain FolderLock holds} it.
     *
     * @param settings all that figures depend on but for the axes
     * @throws IllegalArgumentException if another run has it, or it holds a sweep with other settings; the message says which
     */
    public static SweepFolder open(Path root, Settings settings) {
        FolderLock held = FolderLock.hold(root);
        boolean opened = false;
        try {
            Files.createDirectories(root.resolve(CELLS));
            Path file = root.resolve(SETTINGS);
            if (Files.exists(file)) {
                List<String> differences = Settings.read(file).differences(settings, Settings.NONE);
                if (!differences.isEmpty()) {
                    throw new IllegalArgumentException(root + " holds a sweep with other settings: "
                            + String.join("; ", differences) + "; name another folder, or delete this one");
                }
            } else {
                write(file, settings.json());
            }
            opened = true;
            return new SweepFolder(root, held);
        } catch (IOException e) {
            throw WriteFailure.of(root, e);
        } finally {
            if (!opened) {
                held.close();
            }
        }
    }

    /** Results of the finished cells, by the names of their files. */
    List<Result> results() {
        List<Result> results = new ArrayList<>();
        try (Stream<Path> files = Files.list(root.resolve(CELLS))) {
            for (Path file : files.filter(each -> each.toString().endsWith(ENDING))
                    .sorted()
                    .toList()) {
                results.add(read(file));
            }
        } catch (IOException e) {
            throw new UncheckedIOException(root + ": " + e.getMessage(), e);
        }
        return results;
    }

    private static Result read(Path file) throws IOException {
        try {
            return Result.of(Files.readString(file));
        } catch (IllegalArgumentException e) {
            throw new IllegalArgumentException(
                    file + " is no result of a sweep (" + e.getMessage()
                            + "); delete it, and its cell is measured again",
                    e);
        }
    }

    /** Keeps the result of a cell. */
    void keep(Result result) {
        String key = result.cell().key();
        // Words may be any text, such as names of classes.
        String name = "%s-%08x".formatted(key.replaceAll("[^A-Za-z0-9.,=_-]", "_"), key.hashCode());
        write(root.resolve(CELLS).resolve(name + ENDING), result.json());
    }

    /** Lets other sweeps in. */
    @Override
    public void close() {
        held.close();
    }

    private static void write(Path file, String text) {
        AtomicFile.write(file, out -> out.write((text + "\n").getBytes(StandardCharsets.UTF_8)));
    }
}
