package tessera.spark;

import java.io.IOException;
import java.io.UncheckedIOException;
import java.nio.file.Path;
import java.util.HashMap;
import java.util.List;
import java.util.Map;
import org.apache.spark.broadcast.Broadcast;
import tessera.nn.inference.Masking;
import tessera.nn.inference.Predictor;

/** The students of this JVM, which an executor is: each is loaded by the first task that needs it and shared by all that follow. */
final class LoadedStudents {
    private static final Map<Key, Predictor> PREDICTORS = new HashMap<>();

    private record Key(List<String> checksums, Masking masking, long seed) {}

    private LoadedStudents() {}

    /**
     * The predictor of a look, open until the JVM ends; other tasks that ask while it is loaded wait.
     *
     * @param checksums of the files
     */
    static synchronized Predictor predictor(VideoLook look, List<String> checksums, Broadcast<LookFiles> files) {
        Key key = new Key(checksums, look.masking(), look.seed());
        Predictor predictor = PREDICTORS.get(key);
        if (predictor == null) {
            predictor = open(look, files.value());
            PREDICTORS.put(key, predictor);
        }
        return predictor;
    }

    private static Predictor open(VideoLook look, LookFiles contents) {
        Predictor.Options options =
                Predictor.Options.standard().withMasking(look.masking()).withSeed(look.seed());
        try {
            return contents.asFiles(files -> Predictor.open(
                    options, files.getFirst(), files.subList(1, files.size()).toArray(Path[]::new)));
        } catch (IOException e) {
            throw new UncheckedIOException("cannot write the student's files", e);
        }
    }

    /** How many were loaded. */
    static synchronized int count() {
        return PREDICTORS.size();
    }
}
