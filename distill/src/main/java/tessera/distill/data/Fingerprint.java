package tessera.distill.data;

import java.io.IOException;
import java.nio.charset.StandardCharsets;
import java.nio.file.FileVisitOption;
import java.nio.file.FileVisitResult;
import java.nio.file.Files;
import java.nio.file.Path;
import java.nio.file.SimpleFileVisitor;
import java.nio.file.attribute.BasicFileAttributes;
import java.security.MessageDigest;
import java.security.NoSuchAlgorithmException;
import java.util.HexFormat;
import java.util.Set;

/** By what a look from outside tells whether files have changed. */
final class Fingerprint {
    /** Arrays of frames lie in a folder of the recording, or in one below it. */
    private static final int DEPTH = 2;

    private Fingerprint() {}

    /** 16 hexadecimal digits that stand for a text. */
    static String ofText(String text) {
        try {
            byte[] digest = MessageDigest.getInstance("SHA-256").digest(text.getBytes(StandardCharsets.UTF_8));
            return HexFormat.of().formatHex(digest, 0, 8);
        } catch (NoSuchAlgorithmException impossible) {
            throw new IllegalStateException("every Java has SHA-256", impossible);
        }
    }

    /** Size and time of a file; of a folder the number of files in it, their sizes together, and the latest time. */
    static String of(Path path) throws IOException {
        if (!Files.isDirectory(path)) {
            return Files.size(path) + " " + Files.getLastModifiedTime(path).toMillis();
        }
        long[] sums = new long[3];
        Files.walkFileTree(path, Set.of(FileVisitOption.FOLLOW_LINKS), DEPTH, new SimpleFileVisitor<>() {
            @Override
            public FileVisitResult visitFile(Path file, BasicFileAttributes attributes) {
                sums[0]++;
                sums[1] += attributes.size();
                sums[2] = Math.max(sums[2], attributes.lastModifiedTime().toMillis());
                return FileVisitResult.CONTINUE;
            }
        });
        return sums[0] + "x" + sums[1] + " " + sums[2];
    }
}
