package tessera.spark;

import java.util.ArrayList;
import java.util.List;
import java.util.concurrent.Callable;
import org.apache.spark.sql.AnalysisException;
import org.apache.spark.sql.Dataset;
import org.apache.spark.sql.Row;
import org.apache.spark.sql.SparkSession;
import org.apache.spark.sql.functions;
import picocli.CommandLine;
import picocli.CommandLine.Command;
import picocli.CommandLine.Option;
import picocli.CommandLine.Parameters;

/** The job for {@code spark-submit}: a table of videos in, the same with a student's answers out, as Parquet. */
@Command(
        name = "VideoJob",
        mixinStandardHelpOptions = true,
        description = "Adds what a student sees to a table of videos, and writes it as Parquet.")
public final class VideoJob implements Callable<Integer> {
    enum Wanted {
        predictions,
        features
    }

    @Parameters(index = "0", description = "${COMPLETION-CANDIDATES}.")
    private Wanted wanted;

    @Option(names = "--student", required = true, description = "A student's file, on the driver.")
    private String student;

    @Option(
            names = "--head",
            description = "A head's file, on the driver; may be given again. Default: those in the student's file.")
    private List<String> heads = new ArrayList<>();

    @Option(
            names = "--videos",
            required = true,
            description =
                    "A table that names videos: Parquet, or by its ending .csv (with a header) or .json (an object a line).")
    private String videos;

    @Option(
            names = "--column",
            defaultValue = "path",
            description = "The column with the paths, as the executors see them. Default: ${DEFAULT-VALUE}.")
    private String column;

    @Option(names = "--out", required = true, description = "A folder for the Parquet files; it must not exist yet.")
    private String out;

    @Option(
            names = "--mask-ratio",
            defaultValue = "0.75",
            description = "Share of the tokens that are not looked at. Default: ${DEFAULT-VALUE}.")
    private double maskRatio;

    @Option(names = "--ensemble", defaultValue = "2", description = "Masks for each clip. Default: ${DEFAULT-VALUE}.")
    private int ensemble;

    @Option(names = "--seed", defaultValue = "1", description = "Determines the masks. Default: ${DEFAULT-VALUE}.")
    private long seed;

    @Option(
            names = "--clip-seconds",
            defaultValue = "2",
            description = "How long a clip lasts; 0 makes one of each video. Default: ${DEFAULT-VALUE}.")
    private double clipSeconds;

    @Option(
            names = "--partitions",
            defaultValue = "0",
            description = "Into how many tasks the videos are dealt; 0 for four a core. Default: ${DEFAULT-VALUE}.")
    private int partitions;

    @Option(
            names = "--strict",
            description = "Fail where a video cannot be read, instead of telling it in the column error.")
    private boolean strict;

    private VideoJob() {}

    /** Runs in the session that spark-submit made the settings of. */
    public static void main(String[] args) {
        int code = run(args);
        if (code != 0) {
            System.exit(code);
        }
    }

    /** Returns the exit code: 0, or 2 for bad usage or bad input; else Spark's own exceptions are printed and give 1. */
    static int run(String... args) {
        return new CommandLine(new VideoJob())
                .setExecutionExceptionHandler((e, line, parsed) -> {
                    if (e instanceof IllegalArgumentException || e instanceof AnalysisException) {
                        line.getErr()
                                .println("error: "
                                        + String.valueOf(e.getMessage())
                                                .lines()
                                                .findFirst()
                                                .orElse(""));
                        return CommandLine.ExitCode.USAGE;
                    }
                    throw e;
                })
                .execute(args);
    }

    @Override
    public Integer call() {
        VideoLook look = new VideoLook(student, heads, maskRatio, ensemble, seed, clipSeconds, strict);
        look.requireFiles();
        SparkSession spark = SparkSession.builder().getOrCreate();
        Dataset<Row> table = read(spark);
        int tasks = partitions > 0 ? partitions : 4 * spark.sparkContext().defaultParallelism();
        Dataset<Row> dealt = table.repartition(tasks);
        Dataset<Row> answered = wanted == Wanted.predictions
                ? VideoTable.predictions(dealt, column, look)
                : VideoTable.features(dealt, column, look);
        answered.write().parquet(out);
        Row counts = spark.read()
                .parquet(out)
                .agg(functions.count(functions.lit(1)), functions.count("error"))
                .first();
        System.out.println(out + ": " + counts.getLong(0) + " videos, of which " + counts.getLong(1)
                + " could not be read (their column error says why)");
        return 0;
    }

    private Dataset<Row> read(SparkSession spark) {
        if (videos.endsWith(".csv")) {
            return spark.read().option("header", true).csv(videos);
        }
        return videos.endsWith(".json")
                ? spark.read().json(videos)
                : spark.read().parquet(videos);
    }
}
