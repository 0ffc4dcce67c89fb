package tessera.spark;

import java.io.IOException;
import java.io.Serializable;
import java.nio.file.Files;
import java.nio.file.Path;
import java.util.ArrayList;
import java.util.Comparator;
import java.util.List;
import java.util.function.Function;
import java.util.stream.Stream;
import tessera.tensor.io.Sha256;

/**
 * What is in the files of a look, the student first, as Spark broadcasts it to the executors. (Files that a context is told to bring do
 * not arrive where a session keeps its own, as Spark 4 does.)
 *
 * @param names without their folders
 * @param contents kept, not copied
 */
record LookFiles(List<String> names, List<byte[]> contents) implements Serializable {
    /**
     * Reads them, on the driver.
     *
     * @throws IllegalArgumentException if one cannot be read
     */
    static LookFiles read(VideoLook look) {
        List<String> names = new ArrayList<>();
        List<byte[]> contents = new ArrayList<>();
        for (String file : look.files()) {
            try {
                contents.add(Files.readAllBytes(Path.of(file)));
            } catch (IOException e) {
                throw new IllegalArgumentException(file + " cannot be read on the driver (" + e + "); pass another", e);
            }
            names.add(String.valueOf(Path.of(file).getFileName()));
        }
        return new LookFiles(names, contents);
    }

    /** Of each file what tells it from others. */
    List<String> checksums() {
        return contents.stream().map(Sha256::of).toList();
    }

    /** Gives the contents as files, which are deleted afterwards. */
    <T> T asFiles(Function<List<Path>, T> use) throws IOException {
        Path folder = Files.createTempDirectory("tessera-look");
        try {
            List<Path> files = new ArrayList<>();
            for (int i = 0; i < names.size(); i++) {
                files.add(Files.write(folder.resolve(i + "-" + names.get(i)), contents.get(i)));
            }
            return use.apply(files);
        } finally {
            try (Stream<Path> all = Files.walk(folder)) {
                for (Path file : all.sorted(Comparator.reverseOrder()).toList()) {
                    Files.deleteIfExists(file);
                }
            }
        }
    }
}
