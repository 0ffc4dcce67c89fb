package tessera.spark;

import static org.junit.jupiter.api.Assertions.assertArrayEquals;
import static org.junit.jupiter.api.Assertions.assertEquals;
import static org.junit.jupiter.api.Assertions.assertFalse;
import static org.junit.jupiter.api.Assertions.assertNotEquals;
import static org.junit.jupiter.api.Assertions.assertThrows;
import static org.junit.jupiter.api.Assertions.assertTrue;

import java.io.ByteArrayInputStream;
import java.io.ByteArrayOutputStream;
import java.io.IOException;
import java.io.ObjectInputStream;
import java.io.ObjectOutputStream;
import java.nio.charset.StandardCharsets;
import java.nio.file.Files;
import java.nio.file.Path;
import java.util.ArrayList;
import java.util.Iterator;
import java.util.List;
import java.util.Map;
import java.util.Random;
import java.util.TreeMap;
import java.util.stream.IntStream;
import org.apache.spark.SparkException;
import org.apache.spark.TaskContext;
import org.apache.spark.api.java.function.MapPartitionsFunction;
import org.apache.spark.sql.Dataset;
import org.apache.spark.sql.Encoders;
import org.apache.spark.sql.Row;
import org.apache.spark.sql.RowFactory;
import org.apache.spark.sql.SparkSession;
import org.apache.spark.sql.types.DataTypes;
import org.apache.spark.sql.types.StructType;
import org.junit.jupiter.api.AfterAll;
import org.junit.jupiter.api.BeforeAll;
import org.junit.jupiter.api.Test;
import org.junit.jupiter.api.function.Executable;
import org.junit.jupiter.api.io.TempDir;
import scala.collection.Seq;
import scala.jdk.javaapi.CollectionConverters;
import tessera.distill.video.ClipCut;
import tessera.distill.video.Video;
import tessera.kernels.DType;
import tessera.kernels.Device;
import tessera.nn.Params;
import tessera.nn.inference.Head;
import tessera.nn.inference.Masking;
import tessera.nn.inference.Prediction;
import tessera.nn.inference.Predictor;
import tessera.nn.inference.Student;
import tessera.nn.inference.VideoClip;
import tessera.nn.videomae.VideoMaeClassifier;
import tessera.nn.videomae.VideoMaeConfig;
import tessera.tensor.Patches;
import tessera.tensor.Scope;

/** The job on a Spark of two cores in this process, which tries a task three times. */
class VideoTableTest {
    private static final int VIDEOS = 5;
    private static final int SIZE = 32;
    private static final int WIDTH = 24;
    private static final VideoMaeConfig CONFIG = new VideoMaeConfig(
            new Patches(3, 2, 8, 1 / 255.0, new double[] {.5, .5, .5}, new double[] {.2, .2, .2}),
            8,
            SIZE,
            SIZE,
            WIDTH,
            1,
            3,
            16,
            1,
            2,
            1e-5,
            1e-5,
            true,
            false);
    private static final StructType TABLE =
            new StructType().add("id", DataTypes.IntegerType).add("path", DataTypes.StringType);

    @TempDir
    private static Path folder;

    private static SparkSession spark;
    private static String student;
    private static String head;

    @BeforeAll
    static void start() throws Exception {
        spark = SparkSession.builder()
                .master("local[2,3]")
                .config("spark.ui.enabled", false)
                .config("spark.sql.shuffle.partitions", 2)
                .config("spark.sql.warehouse.dir", folder.resolve("warehouse").toString())
                .config("spark.driver.bindAddress", "127.0.0.1")
                .config("spark.driver.host", "127.0.0.1")
                .getOrCreate();
        student = folder.resolve("student.safetensors").toString();
        head = folder.resolve("head.safetensors").toString();
        try (Scope scope = Scope.open()) {
            Params params = Params.random(Device.cpu(), DType.F32, 5);
            new VideoMaeClassifier(params, CONFIG, 0).close();
            Student.save(Path.of(student), params.all(), CONFIG, Map.of());
            Random random = new Random(3);
            double[][] weights = IntStream.range(0, 2)
                    .mapToObj(label -> random.doubles(WIDTH, -2, 2).toArray())
                    .toArray(double[][]::new);
            Head.of(weights, new double[2], List.of("pour", "stir")).save(Path.of(head));
        }
        for (int i = 0; i < VIDEOS; i++) {
            write(video(i), 16 + 16 * (i % 2), i);
        }
        Files.writeString(folder.resolve("broken.y4m"), "no video");
    }

    @AfterAll
    static void stop() {
        spark.stop();
    }

    private static Path video(int number) {
        return folder.resolve("video" + number + ".y4m");
    }

    /** Noise, 8 frames a second of uncompressed grey video (YUV4MPEG2). */
    private static void write(Path file, int frames, int seed) throws IOException {
        Random random = new Random(seed);
        ByteArrayOutputStream out = new ByteArrayOutputStream();
        out.writeBytes(
                ("YUV4MPEG2 W" + SIZE + " H" + SIZE + " F8:1 Ip A1:1 Cmono\n").getBytes(StandardCharsets.US_ASCII));
        byte[] pixels = new byte[SIZE * SIZE];
        for (int i = 0; i < frames; i++) {
            random.nextBytes(pixels);
            out.writeBytes("FRAME\n".getBytes(StandardCharsets.US_ASCII));
            out.writeBytes(pixels);
        }
        Files.write(file, out.toByteArray());
    }

    /** The videos, the last of them as a URI, one that is broken, one that is not there, and one without a path. */
    private static Dataset<Row> table() {
        List<Row> rows = new ArrayList<>();
        for (int i = 0; i < VIDEOS; i++) {
            rows.add(RowFactory.create(
                    i, i + 1 < VIDEOS ? video(i).toString() : video(i).toUri().toString()));
        }
        rows.add(RowFactory.create(VIDEOS, folder.resolve("broken.y4m").toString()));
        rows.add(RowFactory.create(VIDEOS + 1, folder.resolve("gone.mp4").toString()));
        rows.add(RowFactory.create(VIDEOS + 2, null));
        return spark.createDataFrame(rows, TABLE).repartition(4);
    }

    private static Predictor predictor(long seed) {
        return Predictor.open(
                Predictor.Options.standard().withMasking(Masking.DEFAULT).withSeed(seed),
                Path.of(student),
                Path.of(head));
    }

    private static List<VideoClip> clips(int number) {
        return Video.cut(video(number), ClipCut.every(2, CONFIG.frames(), SIZE, SIZE));
    }

    /** Of each video id, clips, label, and what each label has. */
    private static List<String> expected(long seed) {
        List<String> expected = new ArrayList<>();
        try (Predictor direct = predictor(seed)) {
            for (int i = 0; i < VIDEOS; i++) {
                List<VideoClip> clips = clips(i);
                Prediction mean = Prediction.mean(direct.predictAll(clips));
                Map<String, Double> scores = new TreeMap<>();
                mean.answers().getFirst().scores().forEach(score -> scores.put(score.label(), score.probability()));
                expected.add(i + " " + clips.size() + " " + mean.label() + " " + mean.probability() + " " + scores);
            }
        }
        return expected;
    }

    private static List<String> told(List<Row> rows) {
        return rows.stream()
                .map(row -> {
                    Row answer = (Row) row.getList(row.fieldIndex("answers")).getFirst();
                    Map<String, Double> scores = new TreeMap<>(answer.getJavaMap(answer.fieldIndex("scores")));
                    assertEquals(row.<String>getAs("label"), answer.getAs("label"));
                    return row.getAs("id") + " " + row.getAs("clips") + " " + row.getAs("label") + " "
                            + row.getAs("probability") + " " + scores;
                })
                .toList();
    }

    @Test
    void predictionsAreThoseOfAPredictorAndComeBackFromParquet() {
        // A look that no other test has.
        VideoLook look = new VideoLook(student, List.of(head), .75, 2, 7, 2, false);
        int loaded = LoadedStudents.count();
        String out = folder.resolve("predictions").toString();
        VideoTable.predictions(table(), "path", look).write().parquet(out);
        assertEquals(loaded + 1, LoadedStudents.count(), "one student for all tasks of this process");

        List<Row> rows = spark.read().parquet(out).orderBy("id").collectAsList();
        assertEquals(VIDEOS + 3, rows.size());
        assertEquals(expected(7), told(rows.subList(0, VIDEOS)));
        assertNotEquals(
                rows.get(0).<Double>getAs("probability"),
                rows.get(2).<Double>getAs("probability"),
                "it tells videos apart");
        assertEquals(
                List.of(1, 2),
                List.of(rows.get(0).<Integer>getAs("clips"), rows.get(1).<Integer>getAs("clips")));
        for (Row row : rows) {
            String error = row.getAs("error");
            boolean read = row.<Integer>getAs("id") < VIDEOS;
            assertEquals(read, error == null, row::toString);
            assertEquals(read, row.getAs("label") != null, row::toString);
        }
        assertTrue(rows.get(VIDEOS).<String>getAs("error").contains("broken.y4m: "), rows::toString);
        assertTrue(rows.get(VIDEOS + 1).<String>getAs("error").contains("gone.mp4: "), rows::toString);
        assertTrue(rows.get(VIDEOS + 2).<String>getAs("error").contains("there is no path"), rows::toString);
    }

    @Test
    void featuresAreTheMeanOverTheMasks() {
        List<Row> rows = VideoTable.features(table().where("id = 1"), "path", VideoLook.of(student))
                .collectAsList();
        assertEquals(1, rows.size());
        Row row = rows.getFirst();
        List<List<Float>> features = row.<Object>getList(row.fieldIndex("features")).stream()
                .map(VideoTableTest::floats)
                .toList();
        try (Predictor direct = predictor(1);
                Scope scope = Scope.open()) {
            float[] values = direct.features(clips(1)).toFloats(); // [2, 2, WIDTH]
            assertEquals(2, features.size());
            for (int clip = 0; clip < 2; clip++) {
                float[] mean = new float[WIDTH];
                float[] got = new float[WIDTH];
                for (int i = 0; i < WIDTH; i++) {
                    mean[i] = (float) (((double) values[clip * WIDTH + i] + values[(2 + clip) * WIDTH + i]) / 2);
                    got[i] = features.get(clip).get(i);
                }
                assertArrayEquals(mean, got);
            }
        }
    }

    @SuppressWarnings("unchecked")
    private static List<Float> floats(Object array) {
        return new ArrayList<>(CollectionConverters.asJava((Seq<Float>) array));
    }

    /** Gives the rows of a partition, but fails behind the first one in a task's first try. */
    private static Iterator<Row> failing(Iterator<Row> rows) {
        return new Iterator<>() {
            private int given;

            @Override
            public boolean hasNext() {
                return rows.hasNext();
            }

            @Override
            public Row next() {
                if (given++ == 1 && TaskContext.get().attemptNumber() == 0) {
                    throw new IllegalStateException("a disk that fails once");
                }
                return rows.next();
            }
        };
    }

    @Test
    void aTaskThatFailsIsTriedAgain() {
        MapPartitionsFunction<Row, Row> once = VideoTableTest::failing;
        Dataset<Row> shaky = table().coalesce(2).mapPartitions(once, Encoders.row(TABLE));
        List<Row> rows = VideoTable.predictions(shaky, "path", VideoLook.of(student, head))
                .orderBy("id")
                .collectAsList();
        assertEquals(VIDEOS + 3, rows.size());
        assertEquals(expected(1), told(rows.subList(0, VIDEOS)));
    }

    @Test
    void aStrictLookFailsTheJobAfterAllTries() {
        VideoLook strict = new VideoLook(student, List.of(head), .75, 2, 1, 2, true);
        Dataset<Row> broken = VideoTable.predictions(table().where("id = " + VIDEOS), "path", strict);
        Throwable thrown = assertThrows(Exception.class, broken::collectAsList);
        Throwable cause = thrown;
        while (!(cause instanceof SparkException) && cause.getCause() != null) {
            cause = cause.getCause();
        }
        String message = thrown + " " + cause;
        assertTrue(message.contains("broken.y4m: ") && message.contains("failed 3 times"), message);
    }

    @Test
    void aStudentThatIsNoneFailsTheJob() throws Exception {
        String other = Files.writeString(folder.resolve("other.safetensors"), "no student")
                .toString();
        Dataset<Row> seen = VideoTable.features(table(), "path", VideoLook.of(other));
        Throwable thrown = assertThrows(Exception.class, seen::collectAsList);
        assertTrue(thrown.toString().contains("other.safetensors"), thrown::toString);
    }

    @Test
    void otherTablesAndFilesAreRefusedBeforeAnyWork() throws Exception {
        VideoLook look = VideoLook.of(student, head);
        refuses("no column 'file' of strings but [id, path]", () -> VideoTable.predictions(table(), "file", look));
        refuses("no column 'id' of strings", () -> VideoTable.predictions(table(), "id", look));
        Dataset<Row> labelled = table().withColumnRenamed("id", "Label");
        refuses("has a column 'Label', which is to be added", () -> VideoTable.predictions(labelled, "path", look));
        refuses("gone.safetensors is no file", () -> see(VideoLook.of("gone.safetensors")));
        refuses("gone.safetensors is no file", () -> see(VideoLook.of(student, "gone.safetensors")));
        refuses("mask", () -> new VideoLook(student, List.of(), 1, 2, 1, 2, false));
    }

    private static void see(VideoLook look) {
        VideoTable.predictions(table(), "path", look);
    }

    /** An executor has the files in a folder of its own, and none where the driver has them. */
    @Test
    void aLookArrivesWhereItsFilesAreNot() throws Exception {
        VideoLook look = VideoLook.of("/nowhere/student.safetensors", "/nowhere/head.safetensors");
        ByteArrayOutputStream bytes = new ByteArrayOutputStream();
        try (ObjectOutputStream out = new ObjectOutputStream(bytes)) {
            out.writeObject(look);
        }
        try (ObjectInputStream in = new ObjectInputStream(new ByteArrayInputStream(bytes.toByteArray()))) {
            assertEquals(look, in.readObject());
        }
    }

    private static void refuses(String problem, Executable call) {
        String message = String.valueOf(
                assertThrows(IllegalArgumentException.class, call).getMessage());
        assertTrue(message.contains(problem) && message.lines().count() == 1, message);
    }

    @Test
    void theJobReadsATableAndWritesParquet() throws Exception {
        String in = folder.resolve("in.csv").toString();
        Files.write(Path.of(in), List.of("place,file", "kitchen," + video(0), "kitchen," + video(1)));
        String out = folder.resolve("out").toString();
        String[] words = {
            "predictions", "--student", student, "--head", head, "--videos", in, "--column", "file", "--out", out
        };
        assertEquals(0, VideoJob.run(words));
        List<Row> rows = spark.read().parquet(out).orderBy("file").collectAsList();
        assertEquals(
                List.of("place", "file", "clips", "label", "probability", "answers", "error"),
                List.of(rows.getFirst().schema().fieldNames()));
        assertEquals(2, rows.size());
        assertEquals("kitchen", rows.getFirst().getAs("place"));
        assertTrue(expected(1)
                .getFirst()
                .contains(rows.getFirst().getAs("probability").toString()));
        assertFalse(rows.stream().anyMatch(row -> row.getAs("error") != null), rows::toString);

        assertEquals(2, VideoJob.run(words), "the folder is there");
        words[2] = "gone.safetensors";
        assertEquals(2, VideoJob.run(words));
        assertEquals(2, VideoJob.run("predictions"));
    }
}
