package tessera.spark;

import java.nio.file.Path;
import java.util.HashMap;
import java.util.List;
import java.util.Map;
import org.apache.spark.SparkFiles;
import tessera.nn.inference.Predictor;

/** The students of this JVM, which an executor is: each is loaded by the first task that needs it and shared by all that follow. */
final class LoadedStudents {
    private static final Map<Key, Predictor> PREDICTORS = new HashMap<>();

    /** Files of two Spark contexts of one JVM differ by their folders. */
    private record Key(String student, List<String> heads, VideoLook look) {}

    private LoadedStudents() {}

    /** The predictor of a look, open until the JVM ends; other tasks that ask while it is loaded wait. */
    static synchronized Predictor predictor(VideoLook look) {
        String student = here(look.student());
        List<String> heads = look.heads().stream().map(LoadedStudents::here).toList();
        return PREDICTORS.computeIfAbsent(
                new Key(student, heads, look),
                key -> Predictor.open(
                        Predictor.Options.standard().withMasking(look.masking()).withSeed(look.seed()),
                        Path.of(student),
                        heads.stream().map(Path::of).toArray(Path[]::new)));
    }

    /** How many were loaded. */
    static synchronized int count() {
        return PREDICTORS.size();
    }

    private static String here(String file) {
        return SparkFiles.get(VideoLook.name(file));
    }
}
