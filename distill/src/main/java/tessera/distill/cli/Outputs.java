package tessera.distill.cli;

import java.io.IOException;
import java.io.InputStream;
import java.nio.channels.FileChannel;
import java.nio.charset.StandardCharsets;
import java.nio.file.FileSystemException;
import java.nio.file.FileVisitOption;
import java.nio.file.FileVisitResult;
import java.nio.file.Files;
import java.nio.file.Path;
import java.nio.file.SimpleFileVisitor;
import java.nio.file.StandardOpenOption;
import java.nio.file.attribute.BasicFileAttributes;
import java.util.ArrayList;
import java.util.Collection;
import java.util.Collections;
import java.util.List;
import java.util.Locale;
import java.util.Set;
import picocli.CommandLine.Model.ArgSpec;
import picocli.CommandLine.Model.CommandSpec;
import picocli.CommandLine.Model.OptionSpec;
import tessera.distill.train.Ensemble;
import tessera.distill.train.Pretraining;
import tessera.distill.train.Trainer;
import tessera.tensor.io.AtomicFile;

/** Checks of where results go, made before the work starts. */
final class Outputs {
    /** What a command writes is called so; all other paths are read. */
    private static final Set<String> RESULTS = Set.of("--out", "--report", "--cache");

    /** Endings of files that are of one format each: who names another than what is written has mistaken something. */
    private static final Set<String> FORMATS = Set.of(
            "safetensors",
            "npy",
            "npz",
            "onnx",
            "html",
            "htm",
            "json",
            "jsonl",
            "csv",
            "txt",
            "md",
            "pt",
            "pth",
            "bin",
            "zip",
            "jar",
            "wav",
            "mp4",
            "mkv",
            "avi",
            "mov",
            "webm",
            "jpg",
            "jpeg",
            "png");

    /** What a training writes into its folder. */
    private static final List<String> OF_A_RUN =
            List.of(Trainer.CHECKPOINT, Trainer.METRICS, Pretraining.MODEL, Ensemble.STUDENT);

    private Outputs() {}

    /**
     * Checks by trying that a file or folder can be written, made or replaced, with the folders around it that are missing.
     * Nothing is changed, and nothing stays.
     *
     * @throws IllegalArgumentException if it lies below a file, or in a folder that takes no new files, or is a file that
     *     takes no writing
     */
    static void requireWritable(Path path) {
        requireWritable("--out", path, path);
    }

    /** @param path as the user knows it */
    private static void requireWritable(String option, Path path, Path written) {
        Path existing = nearest(option, path, written);
        if (Files.isDirectory(existing)) {
            requireNewFiles(option, path, existing);
        } else if (existing.equals(written.toAbsolutePath())) {
            requireOpens(option, path);
            // Results appear under their names by a move from beside them.
            requireNewFiles(option, path, existing.resolveSibling(""));
        } else {
            throw new IllegalArgumentException(option + " " + path + " cannot be written, because " + existing
                    + " is a file and no folder; name another place");
        }
    }

    /**
     * A file to write.
     *
     * @param format the ending of what is written, or of what may be written
     * @throws IllegalArgumentException if its folder does not exist or cannot be written, it is itself a folder, or it ends as files of another
     *     format do
     */
    static void requireFile(Path file, String... format) {
        requireFile("--out", file, format);
    }

    /** As {@link #requireFile(Path, String...)}, of another option. */
    static void requireFile(String option, Path file, String... format) {
        Path written = behindLinks(option, file);
        Path parent = written.getParent();
        if (parent == null || !Files.isDirectory(parent)) {
            throw new IllegalArgumentException(option + " " + file + " lies in " + parent
                    + ", which is no folder; make it first or name another place");
        }
        if (Files.isDirectory(file)) {
            throw new IllegalArgumentException(option + " " + file + " is a folder; name a file to write in it");
        }
        // Results take the place of what has their name; besides, to open a pipe would wait for its reader.
        if (Files.exists(file) && !Files.isRegularFile(file)) {
            throw new IllegalArgumentException(
                    option + " " + file + " is no ordinary file but a device or a pipe; name a file to write");
        }
        requireWritable(option, file, written);
        requireResult(option, file);
        String ending = ending(file);
        if (FORMATS.contains(ending) && !List.of(format).contains(ending)) {
            throw new IllegalArgumentException(option + " " + file
                    + " ends as files of another format do; name a file that ends in ." + String.join(" or .", format));
        }
    }

    /** A link is written through, as to another disk; the file that it names need not be there yet. */
    private static Path behindLinks(String option, Path file) {
        try {
            return AtomicFile.behindLinks(file);
        } catch (IOException e) {
            throw new IllegalArgumentException(
                    option + " " + file + " is a link that leads to no file; name another file", e);
        }
    }

    /** Without the point, in lower case; empty where there is none. */
    private static String ending(Path file) {
        String name = String.valueOf(file.getFileName()).toLowerCase(Locale.ROOT);
        int point = name.lastIndexOf('.');
        return point < 0 ? "" : name.substring(point + 1);
    }

    /** Who swaps two options, or names a folder's video, must not lose what no command of ours has written. */
    private static void requireResult(String option, Path file) {
        byte[] start = new byte[Long.BYTES + 1];
        int count;
        try (InputStream in = Files.newInputStream(file)) {
            count = in.readNBytes(start, 0, start.length);
        } catch (IOException notThere) {
            return;
        }
        boolean weights = count == start.length && start[Long.BYTES] == '{';
        String first = new String(start, 0, Math.min(1, count), StandardCharsets.ISO_8859_1);
        // An npy or npz file, a page, JSON, an ONNX model.
        boolean other = "\u0093P<{[\b".contains(first);
        if (!weights && !other) {
            throw new IllegalArgumentException(
                    option + " " + file + " is there already and no result of tessera's, which"
                            + " would replace it; name another file, or remove it first");
        }
    }

    /**
     * No result takes the place of what it is made of: every output of a command against every other path that it is given, so
     * that a command need not say which are its inputs.
     *
     * @throws IllegalArgumentException if an output is an input, by whatever spelling or link, or one of the files of an input
     *     that is a folder
     */
    static void requireNoInput(CommandSpec command) {
        for (OptionSpec result : command.options()) {
            if (!RESULTS.contains(result.longestName())) {
                continue;
            }
            for (Path written : paths(result)) {
                for (ArgSpec source : command.args()) {
                    String name = source instanceof OptionSpec option ? option.longestName() : source.paramLabel();
                    if (!RESULTS.contains(name)) {
                        paths(source).forEach(input -> requireOther(result.longestName(), written, name, input));
                    }
                }
            }
        }
    }

    /** The files and folders that an argument was given. */
    static List<Path> paths(ArgSpec argument) {
        Object value = argument.getValue();
        List<Path> paths = new ArrayList<>();
        for (Object each : value instanceof Collection<?> several ? several : Collections.singletonList(value)) {
            if (each instanceof Path path && !path.toString().isEmpty()) {
                paths.add(path);
            } else if (each instanceof NamedTeacher teacher) {
                paths.add(teacher.path());
            }
        }
        return paths;
    }

    /**
     * A result is not to take the place of what it is made of.
     *
     * @param option that names the result, a file or the folder of a training
     * @param source that names the input
     * @param input a file, or a folder in which every file is an input
     * @throws IllegalArgumentException if they are the same, by whatever path
     */
    static void requireOther(String option, Path result, String source, Path input) {
        try {
            if (!Files.exists(result) || !Files.exists(input)) {
                return;
            }
            boolean folder = Files.isDirectory(result);
            if (Files.isSameFile(result, input)) {
                throw new IllegalArgumentException(option + " " + result + " is the input of " + source
                        + "; name another " + (folder ? "folder" : "file"));
            }
            if (folder) {
                requireNoneReplaced(option, result, source, input);
            } else if (Files.isDirectory(input) && holds(input, result)) {
                throw new IllegalArgumentException(option + " " + result + " is one of the inputs in " + source + " "
                        + input + "; name another file");
            }
        } catch (IOException e) {
            throw new IllegalArgumentException(
                    option + " " + result + " cannot be looked at" + reason(e) + "; name another place", e);
        }
    }

    /** Of a folder, what a training writes there is its result. */
    private static void requireNoneReplaced(String option, Path folder, String source, Path input) throws IOException {
        for (String name : OF_A_RUN) {
            Path written = folder.resolve(name);
            if (Files.exists(written) && Files.isSameFile(written, input)) {
                throw new IllegalArgumentException(option + " " + folder + " is where " + source + " " + input
                        + " lies, which the run would write; name another folder");
            }
        }
    }

    /** Whether a file is in a folder, or in one below, itself or by a link there. */
    private static boolean holds(Path folder, Path file) throws IOException {
        if (file.toRealPath().startsWith(folder.toRealPath())) {
            return true;
        }
        boolean[] found = {false};
        Files.walkFileTree(folder, Set.of(FileVisitOption.FOLLOW_LINKS), Integer.MAX_VALUE, new SimpleFileVisitor<>() {
            @Override
            public FileVisitResult visitFile(Path each, BasicFileAttributes attributes) throws IOException {
                found[0] = attributes.isRegularFile() && Files.isSameFile(each, file);
                return found[0] ? FileVisitResult.TERMINATE : FileVisitResult.CONTINUE;
            }

            @Override
            public FileVisitResult visitFileFailed(Path each, IOException told) {
                return FileVisitResult.CONTINUE; // a broken link or a circle: who reads the folder says so
            }
        });
        return found[0];
    }

    /**
     * A folder to make, with those around it, or to go on in.
     *
     * @throws IllegalArgumentException if it is a file or below one, or ends as one does, or cannot be written
     */
    static void requireFolder(Path folder) {
        requireFolder("--out", folder);
    }

    /** As {@link #requireFolder(Path)}, of another option. */
    static void requireFolder(String option, Path folder) {
        Path existing = nearest(option, folder, folder);
        if (!Files.isDirectory(existing)) {
            throw new IllegalArgumentException(
                    option + " " + folder + " cannot be a folder, because " + existing + " is a file; name a folder");
        }
        requireWritable(option, folder, folder);
        if (!Files.exists(folder) && FORMATS.contains(ending(folder))) {
            throw new IllegalArgumentException(
                    option + " " + folder + " ends as a file does, but a folder is written; name a folder");
        }
    }

    /** What is written itself, or what exists of the folders around it. */
    private static Path nearest(String option, Path path, Path written) {
        Path existing = written.toAbsolutePath();
        while (existing.getParent() != null && !Files.exists(existing)) {
            if (Files.isSymbolicLink(existing)) {
                throw new IllegalArgumentException(option + " " + path + " cannot be written, because " + existing
                        + " is a link to what is not there; make that first, or name another place");
            }
            existing = existing.getParent();
        }
        return existing;
    }

    /** Permissions do not tell all: a file system may be read-only, full, or one that takes no files at all. */
    private static void requireNewFiles(String option, Path path, Path folder) {
        try {
            AtomicFile.requireNewFiles(folder);
        } catch (IOException e) {
            throw new IllegalArgumentException(
                    option + " " + path + " lies in " + folder + ", where you may not write" + reason(e)
                            + "; name another place",
                    e);
        }
    }

    private static void requireOpens(String option, Path file) {
        try {
            FileChannel.open(file, StandardOpenOption.WRITE).close();
        } catch (IOException e) {
            throw new IllegalArgumentException(
                    option + " " + file + " cannot be written" + reason(e) + "; name another place", e);
        }
    }

    private static String reason(IOException e) {
        String said = e instanceof FileSystemException failure ? failure.getReason() : e.getMessage();
        return said == null ? "" : " (" + said + ")";
    }
}
