package tessera.spark;

import java.net.URI;
import java.nio.file.Path;
import java.util.ArrayList;
import java.util.Arrays;
import java.util.Iterator;
import java.util.List;
import java.util.stream.Stream;
import org.apache.spark.api.java.JavaSparkContext;
import org.apache.spark.api.java.function.MapPartitionsFunction;
import org.apache.spark.broadcast.Broadcast;
import org.apache.spark.sql.Dataset;
import org.apache.spark.sql.Encoders;
import org.apache.spark.sql.Row;
import org.apache.spark.sql.RowFactory;
import org.apache.spark.sql.types.DataTypes;
import org.apache.spark.sql.types.StructType;
import org.jspecify.annotations.Nullable;
import tessera.distill.video.ClipCut;
import tessera.distill.video.Video;
import tessera.nn.ClipShape;
import tessera.nn.inference.Predictor;
import tessera.nn.inference.VideoClip;

/**
 * What a student sees in the videos of a table: every row with the path of a video gets columns with the answer.
 *
 * <p>Each executor loads the student once and shares it between its tasks, which decode side by side and compute in turn, each with all
 * threads of the device. A task that fails for another reason than its video, or whose executor is lost, is tried again by Spark
 * ({@code spark.task.maxFailures}). Answers depend on the video and the {@link VideoLook} alone, not on how the table is cut into partitions.
 * The work is done when the result is used, and again with each use that Spark does not cache: write it first.
 *
 * <p>Paths name files that the executors can read, as {@code /videos/a.mp4} or {@code file:/videos/a.mp4}.
 */
public final class VideoTable {
    private VideoTable() {}

    /**
     * Adds what videos show: {@code clips} int, the number of clips that were looked at; {@code label} and {@code probability}, the main head's
     * likeliest; {@code answers}, for each head its name, label, probability and the probability of every label as a map, the mean over the
     * clips; and {@code error}, why there is no answer, else null.
     *
     * @param videos a table
     * @param column its column with the paths, strings
     * @throws IllegalArgumentException if the table has no such column, or has one that is to be added, or a file of the look cannot be read
     */
    public static Dataset<Row> predictions(Dataset<Row> videos, String column, VideoLook look) {
        return asked(Question.PREDICTION, videos, column, look);
    }

    /**
     * Adds features of videos: {@code clips} int, the number of clips that were looked at; {@code features}, for each clip an array of f32, the
     * mean over the masks; and {@code error}, why there is none, else null.
     *
     * @param videos a table
     * @param column its column with the paths, strings
     * @throws IllegalArgumentException if the table has no such column, or has one that is to be added, or a file of the look cannot be read
     */
    public static Dataset<Row> features(Dataset<Row> videos, String column, VideoLook look) {
        return asked(Question.FEATURES, videos, column, look);
    }

    private static Dataset<Row> asked(Question question, Dataset<Row> videos, String column, VideoLook look) {
        List<String> columns = Arrays.asList(videos.columns());
        int at = columns.indexOf(column);
        if (at < 0 || !videos.schema().apply(at).dataType().equals(DataTypes.StringType)) {
            throw new IllegalArgumentException("the table has no column '" + column + "' of strings but " + columns
                    + "; name the one with the paths");
        }
        StructType schema = question.addTo(videos.schema()).add("error", DataTypes.StringType);
        List<String> added = Arrays.asList(schema.fieldNames()).subList(columns.size(), schema.length());
        for (String name : columns) {
            if (added.stream().anyMatch(name::equalsIgnoreCase)) {
                throw new IllegalArgumentException(
                        "the table has a column '" + name + "', which is to be added; rename or drop it");
            }
        }
        look.requireFiles();
        LookFiles files = LookFiles.read(look);
        List<String> checksums = files.checksums();
        Broadcast<LookFiles> brought = JavaSparkContext.fromSparkContext(
                        videos.sparkSession().sparkContext())
                .broadcast(files);
        int width = added.size();
        MapPartitionsFunction<Row, Row> each = rows -> {
            // Not in the way of a video's own failures: where the student cannot be opened, the task fails.
            Predictor predictor = LoadedStudents.predictor(look, checksums, brought);
            return answered(question, rows, at, width, look, predictor);
        };
        return videos.mapPartitions(each, Encoders.row(schema));
    }

    /** The rows of a partition, each looked at when it is asked for. */
    private static Iterator<Row> answered(
            Question question, Iterator<Row> rows, int column, int width, VideoLook look, Predictor predictor) {
        return new Iterator<>() {
            @Override
            public boolean hasNext() {
                return rows.hasNext();
            }

            @Override
            public Row next() {
                return answered(question, rows.next(), column, width, look, predictor);
            }
        };
    }

    private static Row answered(
            Question question, Row row, int column, int width, VideoLook look, Predictor predictor) {
        List<@Nullable Object> values = new ArrayList<>();
        for (int i = 0; i < row.length(); i++) {
            values.add(row.get(i));
        }
        try {
            Path file = file(row.isNullAt(column) ? "" : row.getString(column));
            ClipShape input = predictor.student().config().input();
            ClipCut cut = new ClipCut(
                    input.frames(), input.height(), input.width(), look.clipSeconds(), look.clipSeconds(), 0, 1);
            try (Stream<VideoClip> clips = Video.clips(file, cut)) {
                values.addAll(question.answer(predictor, clips));
            }
            values.add(null);
        } catch (IllegalArgumentException e) { // a VideoException, or a path that is none
            if (look.strict()) {
                throw e;
            }
            for (int i = 1; i < width; i++) {
                values.add(null);
            }
            values.add(String.valueOf(e.getMessage()));
        }
        return RowFactory.create(values.toArray());
    }

    private static Path file(String path) {
        if (path.isEmpty()) {
            throw new IllegalArgumentException("there is no path; give the row one");
        }
        return path.startsWith("file:") ? Path.of(URI.create(path)) : Path.of(path);
    }
}
