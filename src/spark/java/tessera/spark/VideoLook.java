package tessera.spark;

import java.io.Serializable;
import java.nio.file.Files;
import java.nio.file.Path;
import java.util.List;
import java.util.stream.Stream;
import tessera.distill.video.ClipCut;
import tessera.nn.inference.Masking;
import tessera.nn.inference.Predictor;

/**
 * With what, and how, videos are looked at. Immutable; it travels to the executors as it is, and with it what is in the
 * files that it names when a table is asked.
 *
 * @param student a student's file, on the driver
 * @param heads files of heads that were learned with it, on the driver; without any, those in the student's file count
 * @param maskRatio share of the tokens that are not looked at, in [0, 1)
 * @param ensemble masks for each clip, at least 1
 * @param seed determines the masks
 * @param clipSeconds how long a clip lasts, clips following each other; 0 makes one clip of a whole video
 * @param strict whether a video that cannot be read fails its task, which Spark then tries again and at last fails the job. Otherwise the
 *     column {@code error} tells it and the job goes on
 */
public record VideoLook(
        String student,
        List<String> heads,
        double maskRatio,
        int ensemble,
        long seed,
        double clipSeconds,
        boolean strict)
        implements Serializable {
    /**
     * Checks all but the files, which executors do not have.
     *
     * @throws IllegalArgumentException if a number is out of its range
     */
    public VideoLook {
        heads = List.copyOf(heads);
        Masking.of(maskRatio, ensemble);
        new ClipCut(1, 1, 1, clipSeconds, clipSeconds, 0, 1);
    }

    /** As the command line has them by default: three quarters hidden, two masks, clips of two seconds, not strict. */
    public static VideoLook of(String student, String... heads) {
        return new VideoLook(
                student,
                List.of(heads),
                Masking.DEFAULT.ratio(),
                Masking.DEFAULT.ensemble(),
                Predictor.Options.SEED,
                2,
                false);
    }

    /** The student's file and those of the heads. */
    List<String> files() {
        return Stream.concat(Stream.of(student), heads.stream()).toList();
    }

    /**
     * Checks the files, on the driver.
     *
     * @throws IllegalArgumentException if one cannot be read
     */
    void requireFiles() {
        for (String file : files()) {
            if (!Files.isReadable(Path.of(file)) || Files.isDirectory(Path.of(file))) {
                throw new IllegalArgumentException(file + " is no file that can be read on the driver; pass one");
            }
        }
    }

    Masking masking() {
        return Masking.of(maskRatio, ensemble);
    }
}
