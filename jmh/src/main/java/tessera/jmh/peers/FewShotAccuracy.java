package tessera.jmh.peers;

import java.nio.file.Path;
import java.util.ArrayList;
import java.util.LinkedHashMap;
import java.util.List;
import java.util.Locale;
import java.util.Map;
import java.util.Set;
import java.util.stream.IntStream;
import org.jspecify.annotations.Nullable;
import tessera.distill.data.ClipSet;
import tessera.distill.data.Geometry;
import tessera.distill.data.Modality;
import tessera.distill.data.Split;
import tessera.distill.egosim.Domain;
import tessera.distill.egosim.EgoSim;
import tessera.distill.egosim.EgoSimClips;
import tessera.distill.evaluation.FeatureExtraction;
import tessera.distill.fewshot.Accuracy;
import tessera.distill.fewshot.Episode;
import tessera.distill.fewshot.EpisodeResult;
import tessera.distill.fewshot.EpisodeSampler;
import tessera.distill.fewshot.FewShotEvaluation;
import tessera.distill.fewshot.LogisticRegression;
import tessera.kernels.DType;
import tessera.kernels.Device;
import tessera.nn.Architecture;
import tessera.nn.ClipShape;
import tessera.nn.inference.Masking;
import tessera.nn.inference.Predictor;
import tessera.nn.inference.Student;
import tessera.tensor.Scope;
import tessera.tensor.Tensor;

/**
 * What rounding costs in accuracy: an RGB student in f32, bf16 and int8 on the same 5-way episodes of EgoSim's test classes, through
 * the same masks. Int8 is measured as it looks at every row, and calibrated on clips of other classes.
 */
final class FewShotAccuracy {
    private static final int WAYS = 5;
    private static final List<Integer> SHOTS = List.of(1, 5);
    private static final int BATCH = 16;
    /** What masks and episodes are drawn with. */
    private static final long SEED = 0;

    private final Path file;
    private final Device device;
    private final Size size;

    /**
     * How much is measured.
     *
     * @param perClass clips of each class that is judged
     * @param calibration clips of each class that the ranges are measured on
     */
    record Size(int perClass, int queries, int episodes, int calibration) {
        static final Size FULL = new Size(40, 15, 600, 4);
        static final Size TINY = new Size(8, 3, 10, 1);
    }

    /**
     * Accuracies as shares in [0, 1].
     *
     * @param student its architecture and what it sees
     * @param precision what it computes in
     * @param ratio of hidden tokens
     * @param ensemble masks of a clip
     * @param interval95 half width of the interval of accuracy
     * @param lost by how much f32 is better, the mean over the episodes; null for f32
     * @param lostInterval95 half width of the interval of that, from the differences episode by episode; null for f32
     */
    record Result(
            String student,
            String precision,
            double ratio,
            int ensemble,
            int shots,
            int episodes,
            double accuracy,
            double interval95,
            @Nullable Double lost,
            @Nullable Double lostInterval95) {

        /** @throws IllegalArgumentException if a member is missing or of another kind */
        static Result of(Map<String, ? extends @Nullable Object> members) {
            boolean exact = members.get("lost") == null;
            return new Result(
                    Row.text(members, "student"),
                    Row.text(members, "precision"),
                    Row.number(members, "ratio"),
                    (int) Row.number(members, "ensemble"),
                    (int) Row.number(members, "shots"),
                    (int) Row.number(members, "episodes"),
                    Row.number(members, "accuracy"),
                    Row.number(members, "interval95"),
                    exact ? null : Double.valueOf(Row.number(members, "lost")),
                    exact ? null : Double.valueOf(Row.number(members, "lostInterval95")));
        }

        /** In percent, with what is lost. */
        String text() {
            String percent = String.format(Locale.ROOT, "%.2f ± %.2f %%", 100 * accuracy, 100 * interval95);
            return lost == null || lostInterval95 == null
                    ? percent
                    : String.format(Locale.ROOT, "%s, %.2f ± %.2f lost", percent, 100 * lost, 100 * lostInterval95);
        }
    }

    private FewShotAccuracy(Path file, Device device, Size size) {
        this.file = file;
        this.device = device;
        this.size = size;
    }

    /**
     * Measures one student.
     *
     * @param file an RGB student in f32
     * @throws IllegalArgumentException if it is none
     */
    static List<Result> measure(Path file, Device device, Size size) {
        return new FewShotAccuracy(file, device, size).measure();
    }

    /**
     * What results of a student are listed by: its architecture and what it sees.
     *
     * @throws IllegalArgumentException if the file is no RGB student in f32
     */
    static String name(Path file) {
        try (Student student = Student.load(file, Device.cpu())) {
            return name(file, student);
        }
    }

    private static String name(Path file, Student student) {
        ClipShape input = student.config().input();
        if (input.channels() != Modality.RGB.layout().channels() || student.isInt8()) {
            throw new IllegalArgumentException("--student " + file + " is " + (student.isInt8() ? "int8" : "a model")
                    + " of " + input.channels() + " channels; pass an rgb student in f32");
        }
        return String.format(
                Locale.ROOT,
                "%s, %d x %d x %d",
                student.config().toMetadata().getOrDefault(Architecture.ENTRY, "videomae"),
                input.frames(),
                input.height(),
                input.width());
    }

    private List<Result> measure() {
        try (Student exact = Student.load(file, device)) {
            String name = name(file, exact);
            ClipShape input = exact.config().input();
            Map<String, double[][][]> features = new LinkedHashMap<>();
            int[] labels;
            Masking masking = Masking.DEFAULT.suiting(exact.config());
            EgoSim sim = new EgoSim(new Geometry(input.frames(), input.height(), input.height()), 1);
            try (ClipSet test = clips(sim, Split.TEST, size.perClass);
                    ClipSet other = clips(sim, Split.VALIDATION, size.calibration)) {
                labels = test.labels();
                features.put(Precision.F32.text(), features(exact, masking, test));
                if (device.bf16().isPresent()) {
                    try (Student bf16 = Student.load(file, device, DType.BF16)) {
                        features.put(Precision.BF16.text(), features(bf16, masking, test));
                    }
                }
                if (device.int8().isPresent()) {
                    try (Student int8 = exact.quantize()) {
                        features.put(Precision.INT8.text(), features(int8, masking, test));
                    }
                    try (Student int8 = calibrated(exact, masking, other)) {
                        features.put(Precision.INT8.text() + " calibrated", features(int8, masking, test));
                    }
                }
            }
            List<Result> results = new ArrayList<>();
            SHOTS.forEach(shots -> results.addAll(results(name, shots, masking, features, labels)));
            return results;
        }
    }

    private static ClipSet clips(EgoSim sim, Split split, int perClass) {
        return EgoSimClips.render(sim, split, List.of(Domain.KITCHEN), 0, perClass, Set.of(Modality.RGB), done -> {});
    }

    private double[][][] features(Student student, Masking masking, ClipSet clips) {
        try (Predictor predictor = Predictor.of(student, masking, SEED)) {
            return FeatureExtraction.extract(
                    predictor, clips.size(), BATCH, (from, count) -> batch(clips, from, count), done -> {});
        }
    }

    private Tensor batch(ClipSet clips, int from, int count) {
        return clips.batch(
                device, Modality.RGB, IntStream.range(from, from + count).toArray());
    }

    private Student calibrated(Student exact, Masking masking, ClipSet clips) {
        try (Scope scope = Scope.open()) {
            List<Tensor> batches = new ArrayList<>();
            for (int from = 0; from < clips.size(); from += BATCH) {
                batches.add(batch(clips, from, Math.min(BATCH, clips.size() - from)));
            }
            return exact.quantize(batches, masking, SEED);
        }
    }

    private List<Result> results(
            String student, int shots, Masking masking, Map<String, double[][][]> features, int[] labels) {
        List<Episode> episodes = new EpisodeSampler(labels, WAYS, shots, size.queries, SEED).draw(size.episodes);
        List<Result> results = new ArrayList<>();
        double[] reference = {};
        for (Map.Entry<String, double[][][]> entry : features.entrySet()) {
            FewShotEvaluation evaluation = new FewShotEvaluation(entry.getValue(), new LogisticRegression());
            double[] accuracies = evaluation.evaluate(episodes, done -> {}).episodes().stream()
                    .mapToDouble(EpisodeResult::accuracy)
                    .toArray();
            boolean exact = reference.length == 0;
            reference = exact ? accuracies : reference;
            Accuracy accuracy = Accuracy.of(accuracies);
            Accuracy lost = exact ? null : Accuracy.of(differences(reference, accuracies));
            results.add(new Result(
                    student,
                    entry.getKey(),
                    masking.ratio(),
                    masking.ensemble(),
                    shots,
                    episodes.size(),
                    accuracy.mean(),
                    accuracy.interval95(),
                    lost == null ? null : Double.valueOf(lost.mean()),
                    lost == null ? null : Double.valueOf(lost.interval95())));
        }
        return results;
    }

    private static double[] differences(double[] from, double[] values) {
        return IntStream.range(0, from.length)
                .mapToDouble(i -> from[i] - values[i])
                .toArray();
    }
}
