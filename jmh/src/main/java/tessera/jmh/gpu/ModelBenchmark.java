package tessera.jmh.gpu;

import java.io.IOException;
import java.io.PrintWriter;
import java.io.UncheckedIOException;
import java.lang.foreign.MemorySegment;
import java.lang.foreign.ValueLayout;
import java.nio.file.Files;
import java.nio.file.Path;
import java.util.ArrayList;
import java.util.Arrays;
import java.util.EnumMap;
import java.util.LinkedHashMap;
import java.util.List;
import java.util.Locale;
import java.util.Map;
import java.util.OptionalDouble;
import java.util.SplittableRandom;
import java.util.function.DoubleSupplier;
import java.util.function.ObjDoubleConsumer;
import java.util.stream.IntStream;
import org.jspecify.annotations.Nullable;
import tessera.kernels.Buffer;
import tessera.kernels.DType;
import tessera.kernels.Device;
import tessera.kernels.Graph;
import tessera.nn.Params;
import tessera.nn.inference.Head;
import tessera.nn.inference.Masking;
import tessera.nn.inference.Student;
import tessera.nn.videomae.VideoMaeClassifier;
import tessera.nn.videomae.VideoMaeConfig;
import tessera.tensor.Shape;
import tessera.tensor.Tensor;

/**
 * Measures masked inference and training steps of a whole model, with PyTorch beside them where there is one.
 *
 * <p>{@code us} is from u8 clips on the device to probabilities on the device, the masks drawn anew each time: masks, gather,
 * encoder, head, softmax, mean over the ensemble, on a GPU as one recorded graph; {@code us_ops} the same operation by
 * operation. {@code us_call} is a session's call, from clips in pinned host memory to probabilities in host memory. A training
 * step is mask, forward, cross-entropy, backward and AdamW. The features are compared with the CPU's.
 */
final class ModelBenchmark implements AutoCloseable {
    private static final double[] MASK_RATIOS = {.75, .9, .5, 0};
    private static final int[] ENSEMBLES = {1, 2};
    private static final double GOAL_RATIO = .75;
    private static final double F32_ERROR = 1e-6;
    private static final double BF16_ERROR = 1e-2;

    /** Seconds in which PyTorch answers. */
    private static final double ANSWER = 25;

    /** Greatest norm of the difference of PyTorch's probabilities, and of its loss, to ours in f32 over the norm of ours. */
    private static final double PEER_ERROR = 3e-2;

    private static final String PDL = "tessera.cuda.pdl";

    /** Property that asks for layers on bytes. */
    static final String BYTES = "tessera.cuda.int8";

    private static final int HOST_SAMPLES = 200;

    /** Replays after which the JVM has compiled what a replay runs through. */
    private static final int WARM_UP = 20_000;

    private final Device device;
    private final Sizes sizes;
    private final boolean tiny;
    private final Results results;
    private final @Nullable Peers peers;
    private final PrintWriter out;
    private final Stopwatch stopwatch;
    private final DType narrow;
    private final Map<String, Tensor> weights = new LinkedHashMap<>();
    private final Head head;
    private final List<Student> bare = new ArrayList<>();
    private final Map<DType, Student> students = new EnumMap<>(DType.class);
    private final List<AutoCloseable> kept = new ArrayList<>();
    private final Map<Case, Map<String, Object>> entries = new LinkedHashMap<>();

    /** What is measured. */
    private record Case(String what, DType type, int batch, double maskRatio, int ensemble) {
        boolean trains() {
            return what.equals("train");
        }

        /** What PyTorch is asked. */
        String request(String mode) {
            return request(what, mode);
        }

        String request(String kind, String mode) {
            return String.format(Locale.ROOT, "%s %s %s %d %.2f %d", kind, type, mode, batch, maskRatio, ensemble);
        }
    }

    ModelBenchmark(Device device, Sizes sizes, boolean tiny, Results results, @Nullable Peers peers, PrintWriter out) {
        this.device = device;
        this.sizes = sizes;
        this.tiny = tiny;
        this.results = results;
        this.peers = peers;
        this.out = out;
        this.stopwatch = new Stopwatch(device, tiny);
        this.narrow = device.computes(DType.BF16) ? DType.BF16 : DType.F32;
        Params random = Params.random(Device.cpu(), DType.F32, 1);
        new VideoMaeClassifier(random, sizes.config(), 0).close();
        weights.putAll(random.all());
        SplittableRandom values = new SplittableRandom(3);
        int width = sizes.config().embedDim();
        double[][] rows = new double[sizes.classes()][];
        for (int c = 0; c < rows.length; c++) {
            rows[c] = values.doubles(width, -.05, .05).toArray();
        }
        List<String> labels =
                IntStream.range(0, rows.length).mapToObj(c -> "class " + c).toList();
        this.head = Head.of(rows, new double[rows.length], labels);
    }

    @Override
    public void close() {
        for (AutoCloseable one : kept.reversed()) {
            try {
                one.close();
            } catch (Exception e) {
                throw new IllegalStateException(e);
            }
        }
        students.values().forEach(Student::close);
        bare.forEach(Student::close);
        weights.values().forEach(Tensor::close);
    }

    // ---------------------------------------------------------------------- what, in which order

    private List<Case> goalCases() {
        return List.of(
                new Case("forward", narrow, sizes.batch(), GOAL_RATIO, 1),
                new Case("forward", narrow, 1, GOAL_RATIO, 1),
                new Case("train", narrow, sizes.batch(), GOAL_RATIO, 1));
    }

    /** Lets PyTorch prepare all that the goals name. */
    void preparePeers() {
        if (peers == null) {
            return;
        }
        Path data = peers.folder().resolve("data");
        try (Buffer clips = Device.cpu().allocate(DType.U8, sizes.batch() * sizes.pixels())) {
            fill(clips.segment());
            new PeerData(device, sizes, weights, head).write(data, clips.segment());
        }
        List<String> requests = new ArrayList<>();
        for (Case one : goalCases()) {
            modes(one, true).forEach(mode -> requests.add(one.request(mode)));
        }
        peers.start(data, requests);
    }

    /** Compares features with the CPU's; returns how many were wrong. */
    int check() {
        return check(narrow);
    }

    /** What the goals name, ours and PyTorch's in turn; returns how many measurements failed or were wrong. */
    int goals(Deadline deadline) {
        int wrong = 0;
        for (Case one : goalCases()) {
            wrong += measure(one, deadline, true);
        }
        return wrong;
    }

    /** Everything else; returns how many measurements failed or were wrong. */
    int rest(Deadline deadline) {
        int wrong = narrow == DType.F32 || deadline.passed() ? 0 : check(DType.F32);
        for (DType type : narrow == DType.F32 ? List.of(DType.F32) : List.of(narrow, DType.F32)) {
            for (int batch : tiny ? new int[] {sizes.batch(), 1} : new int[] {sizes.batch(), 1, 8}) {
                for (double maskRatio : MASK_RATIOS) {
                    for (int ensemble : ENSEMBLES) {
                        wrong += measure(new Case("forward", type, batch, maskRatio, ensemble), deadline, false);
                    }
                }
            }
            for (double maskRatio : new double[] {.75, .9, .5}) {
                wrong += measure(new Case("train", type, sizes.batch(), maskRatio, 1), deadline, false);
            }
        }
        return wrong;
    }

    /**
     * Measures ours, then PyTorch's.
     *
     * @param twice whether ours once more after PyTorch's, and PyTorch's in every form
     */
    private int measure(Case one, Deadline deadline, boolean twice) {
        if (entries.containsKey(one)) {
            return 0;
        }
        if (deadline.passed()) {
            results.put("models_cut_short", true);
            return 0;
        }
        Map<String, Object> entry = new LinkedHashMap<>();
        entry.put("what", one.what);
        entry.put("type", one.type.toString());
        entry.put("batch", one.batch);
        entry.put("rho", one.maskRatio);
        entry.put("P", one.ensemble);
        entries.put(one, entry);
        results.add("models", entry);
        try {
            double us = ours(one, entry);
            entry.put("us", us);
            for (String mode : modes(one, twice)) {
                ask(one, one.what, mode, ANSWER, deadline);
            }
            if (twice) {
                if (!one.trains()) {
                    ask(one, "call", narrow == DType.BF16 ? "cast" : "plain", ANSWER, deadline);
                }
                double again = ours(one, entry);
                entry.put("us", (us + again) / 2);
                entry.put("us_before_and_after", List.of(us, again));
            }
            entry.put("clips_per_s", one.batch * 1e6 / number(entry, "us"));
            compare(entry);
            results.save();
            report(one, entry);
            return 0;
        } catch (RuntimeException e) {
            entry.put("failed", String.valueOf(e.getMessage()));
            results.save();
            report(one, entry);
            return 1;
        }
    }

    private List<String> modes(Case one, boolean all) {
        boolean bf16 = one.type == DType.BF16;
        String compiled = one.trains() ? bf16 ? "autocast" : "plain" : bf16 ? "cast" : "plain";
        List<String> modes =
                new ArrayList<>(bf16 && !one.trains() && all ? List.of("autocast", "cast") : List.of(compiled));
        if (all) {
            List<String> ways = device.isHost()
                    ? List.of("default")
                    : List.of("graph", "graph-cudnn", "default", "default-graph", "overhead", "autotune");
            ways.stream()
                    .filter(way -> !(one.trains() && way.equals("graph-cudnn")))
                    .forEach(way -> modes.add(compiled + "-" + way));
        }
        return modes;
    }

    private double ours(Case one, Map<String, Object> entry) {
        return one.trains() ? train(one, entry) : infer(one, entry);
    }

    private void ask(Case one, String kind, String mode, double seconds, Deadline deadline) {
        Map<String, Object> entry = entries.get(one);
        if (peers == null || entry == null || deadline.passed()) {
            return;
        }
        OptionalDouble us = peers.time(one.request(kind, mode), seconds);
        if (us.isEmpty()) {
            return;
        }
        String name = mode.replace('-', ' ') + (kind.equals("call") ? " call" : "");
        double error = kind.equals("call") ? Double.NaN : peerError(one, mode, seconds);
        boolean wrong = error > PEER_ERROR;
        if (!Double.isNaN(error)) {
            member(entry, "pytorch_error").put(name, error);
        }
        member(entry, wrong ? "pytorch_wrong_us" : "pytorch_us").put(name, us.getAsDouble());
        compare(entry);
        results.save();
        out.printf(
                Locale.ROOT,
                "  PyTorch %-24s %s: %10.1f us, error %.1e%s%n",
                name,
                one.request("").replace("  ", " "),
                us.getAsDouble(),
                error,
                wrong ? " WRONG, does not count" : "");
        out.flush();
    }

    @SuppressWarnings("unchecked")
    private static Map<String, Object> member(Map<String, Object> entry, String name) {
        return (Map<String, Object>) entry.computeIfAbsent(name, key -> new LinkedHashMap<String, Object>());
    }

    /** How far what PyTorch computes is from ours; not a number where it was not compared. */
    private double peerError(Case one, String mode, double seconds) {
        if (peers == null || one.ensemble != 1 || one.maskRatio == 0) {
            return Double.NaN;
        }
        Path file = peers.folder().resolve("answer");
        if (!peers.check(one.request(mode), file, seconds) || !Files.exists(file)) {
            return Double.NaN;
        }
        PeerData data = new PeerData(device, sizes, weights, head);
        try (Tensor clips = clips(one.batch);
                Tensor labels = labels(one.batch)) {
            return one.trains() ? data.error(file, clips, labels) : data.error(file, clips);
        } catch (RuntimeException e) {
            out.println("PyTorch's result was not compared: " + e.getMessage());
            return Double.NaN;
        }
    }

    /** How many times faster ours is, a call beside a call. */
    private static void compare(Map<String, Object> entry) {
        if (entry.get("pytorch_us") instanceof Map<?, ?> theirs) {
            Map<String, Object> ratios = new LinkedHashMap<>();
            theirs.forEach((mode, us) -> {
                String ours = mode.toString().endsWith(" call") ? "us_call" : "us";
                if (entry.get(ours) instanceof Double mine) {
                    ratios.put(mode.toString(), (Double) us / mine);
                }
            });
            entry.put("times_faster", ratios);
        }
    }

    private static double number(Map<String, Object> entry, String name) {
        return entry.get(name) instanceof Double value ? value : Double.NaN;
    }

    private void report(Case one, Map<String, Object> entry) {
        StringBuilder line = new StringBuilder(String.format(
                Locale.ROOT,
                "%-8s %-5s batch %2d rho %.2f P %d",
                one.what,
                one.type,
                one.batch,
                one.maskRatio,
                one.ensemble));
        if (entry.containsKey("failed")) {
            line.append(" failed: ").append(entry.get("failed"));
        } else {
            line.append(String.format(
                    Locale.ROOT, " %10.1f us %9.1f clips/s", number(entry, "us"), number(entry, "clips_per_s")));
            for (String more : List.of("us_ops", "us_call", "us_host", "us_pdl_false", "us_pdl_true")) {
                if (entry.get(more) instanceof Double us) {
                    line.append(String.format(Locale.ROOT, ", %s %.1f us", more.substring(3), us));
                }
            }
            if (entry.get("times_faster") instanceof Map<?, ?> ratios) {
                ratios.forEach(
                        (mode, ratio) -> line.append(String.format(Locale.ROOT, ", %.2f x %s", (Double) ratio, mode)));
            }
        }
        out.println(line);
        out.flush();
    }

    // --------------------------------------------------------------------------------------------------- inference

    private Student student(DType type) {
        return students.computeIfAbsent(type, key -> {
            Student student =
                    key == narrow && onBytes() ? quantised() : Student.of(weights, sizes.config(), device, key);
            bare.add(student);
            return student.withHead(head);
        });
    }

    /** Whether the layers of the model that infers in bf16 are on bytes. */
    boolean onBytes() {
        return !device.isHost() && device.int8().isPresent();
    }

    /** The inputs of every layer have ranges, measured on one clip, so that hidden values are bytes at once. */
    private Student quantised() {
        try (Student exact = Student.of(weights, sizes.config(), Device.cpu());
                Tensor there = clips(1);
                Tensor clip = there.to(Device.cpu());
                Student bytes = exact.quantize(List.of(clip), Masking.of(GOAL_RATIO, 1), 3)) {
            Path file = Files.createTempFile("bytes", ".safetensors");
            try {
                bytes.save(file);
                return Student.load(file, device, narrow);
            } finally {
                Files.delete(file);
            }
        } catch (IOException e) {
            throw new UncheckedIOException(e);
        }
    }

    /** One pass at the large batch, one at 1, and a training step, operation by operation. */
    List<Runnable> profiled() {
        Student student = student(narrow);
        List<Runnable> parts = new ArrayList<>();
        for (int batch : new int[] {sizes.batch(), 1}) {
            Tensor clips = clips(batch);
            kept.add(clips);
            parts.add(() -> student.predict(clips, Masking.of(GOAL_RATIO, 1), 0).close());
        }
        Tensor clips = clips(sizes.batch());
        Tensor labels = labels(sizes.batch());
        TrainingStep step = new TrainingStep(device, sizes, narrow, clips, labels, GOAL_RATIO);
        parts.add(step::run);
        kept.addAll(List.of(clips, labels, step));
        return parts;
    }

    /** Gives the microseconds of a replay of each case of the goals. */
    void times(ObjDoubleConsumer<String> to) {
        for (Case one : goalCases()) {
            String name = one.what + " " + one.batch;
            try {
                to.accept(name, ours(one, new LinkedHashMap<>()));
            } catch (RuntimeException e) {
                out.println(name + " failed: " + e.getMessage());
            }
        }
    }

    /** Microseconds of the whole pass; its other times go into the entry. */
    private double infer(Case one, Map<String, Object> entry) {
        Student student = student(one.type);
        long[] seed = {0};
        double us;
        try (Tensor clips = clips(one.batch)) {
            Runnable pass = () -> student.predict(clips, Masking.of(one.maskRatio, one.ensemble), seed[0]++)
                    .close();
            us = stopwatch.time(List.of(pass)).median();
            if (device.records()) {
                entry.put("us_ops", us);
                Runnable recorded = () -> student.predict(clips, Masking.of(one.maskRatio, one.ensemble), 0)
                        .close();
                us = replay(recorded, entry, true);
                if (goalCases().contains(one)) {
                    for (String dependent : List.of("false", "true")) {
                        entry.put(
                                "us_pdl_" + dependent,
                                withProperty(PDL, dependent, () -> replay(recorded, entry, false)));
                    }
                }
            }
        }
        try (Student.Session session = student.session(one.batch, Masking.of(one.maskRatio, one.ensemble))) {
            fill(session.input());
            entry.put("us_call", call(session));
        }
        return us;
    }

    /** Microseconds of a recording's replay; its launches and the host's time go into the entry. */
    private double replay(Runnable recorded, Map<String, Object> entry, boolean told) {
        long[] seed = {0};
        try (Graph graph = device.record(recorded)) {
            Runnable launch = () -> graph.launch(Graph.Variables.ofSeed(seed[0]++));
            double us = stopwatch.time(List.of(launch)).median();
            if (told) {
                entry.put("launches", graph.nodes());
                entry.put("us_host", host(launch));
            }
            return us;
        }
    }

    /** Median microseconds in which the host enqueues a replay, of an idle device, once the JVM is warm. */
    private double host(Runnable launch) {
        try (Graph small = device.record(() ->
                Tensor.uniform(device, DType.F32, Shape.of(32), 1, 2, 0, 1).close())) {
            for (int i = 0; i < (tiny ? 1 : WARM_UP); i++) {
                small.launch(Graph.Variables.ofSeed(i));
            }
        }
        double[] times = new double[tiny ? 1 : HOST_SAMPLES];
        for (int i = 0; i < times.length; i++) {
            device.synchronize();
            long start = System.nanoTime();
            launch.run();
            times[i] = (System.nanoTime() - start) / 1e3;
        }
        device.synchronize();
        Arrays.sort(times);
        return times[times.length / 2];
    }

    private static double withProperty(String name, String value, DoubleSupplier measured) {
        String before = System.getProperty(name);
        System.setProperty(name, value);
        try {
            return measured.getAsDouble();
        } finally {
            if (before == null) {
                System.clearProperty(name);
            } else {
                System.setProperty(name, before);
            }
        }
    }

    /** Median microseconds from a session's call to the probabilities on the host. */
    private double call(Student.Session session) {
        List<Double> times = new ArrayList<>();
        session.predict(0);
        long begin = System.nanoTime();
        while (times.size() < (tiny ? 1 : 5) || (!tiny && times.size() < 100 && System.nanoTime() - begin < 300e6)) {
            long start = System.nanoTime();
            float[] probabilities = session.predict(times.size());
            times.add((System.nanoTime() - start) / 1e3);
            if (!(probabilities[0] > 0)) {
                throw new IllegalStateException("the first probability is " + probabilities[0]);
            }
        }
        times.sort(null);
        return times.get(times.size() / 2);
    }

    /** Compares the features of one clip with the CPU's. */
    private int check(DType type) {
        float[] expected;
        float[] actual;
        try (Student cpu = Student.of(weights, sizes.config(), Device.cpu());
                Tensor clip = clips(1);
                Tensor same = Tensor.empty(Device.cpu(), DType.U8, clip.shape())) {
            clip.buffer().copyTo(same.buffer());
            try (Tensor features = cpu.features(same, Masking.of(GOAL_RATIO, 1), 3)) {
                expected = values(features);
            }
            try (Tensor features = student(type).features(clip, Masking.of(GOAL_RATIO, 1), 3)) {
                actual = values(features);
            }
        } catch (RuntimeException e) {
            results.put("features_error_" + type, String.valueOf(e.getMessage()));
            out.println("features in " + type + " failed: " + e.getMessage());
            return 1;
        }
        double difference = 0;
        double norm = 0;
        for (int i = 0; i < expected.length; i++) {
            double d = actual[i] - (double) expected[i];
            difference += d * d;
            norm += (double) expected[i] * expected[i];
        }
        double error = difference / norm;
        boolean right = error <= (type == DType.BF16 ? BF16_ERROR : F32_ERROR);
        results.put("features_squared_error_" + type, error);
        out.printf(
                Locale.ROOT,
                "features in %s against the cpu's in f32: squared error %.1e%s%n",
                type,
                error,
                right ? "" : " WRONG");
        return right ? 0 : 1;
    }

    static float[] values(Tensor x) {
        try (Buffer host = Device.cpu().allocate(x.dtype(), x.shape().count())) {
            x.buffer().copyTo(host);
            return host.segment().toArray(ValueLayout.JAVA_FLOAT);
        }
    }

    // ---------------------------------------------------------------------------------------------------- training

    /** Microseconds of a step; what else there is to say goes into the entry. */
    private double train(Case one, Map<String, Object> entry) {
        try (Tensor clips = clips(one.batch);
                Tensor labels = labels(one.batch);
                TrainingStep step = new TrainingStep(device, sizes, one.type, clips, labels, one.maskRatio)) {
            double us;
            if (device.records()) {
                us = replay(step, entry, true);
                if (goalCases().contains(one)) {
                    for (String dependent : List.of("false", "true")) {
                        entry.put(
                                "us_pdl_" + dependent, withProperty(PDL, dependent, () -> replay(step, entry, false)));
                    }
                }
            } else {
                us = stopwatch.time(List.of(step::run)).median();
            }
            float loss = step.loss();
            if (!Float.isFinite(loss)) {
                throw new IllegalStateException("the loss is " + loss);
            }
            return us;
        }
    }

    private double replay(TrainingStep step, Map<String, Object> entry, boolean told) {
        try (TrainingStep.Recorded recorded = step.record()) {
            double us = stopwatch.time(List.of(recorded.launch())).median();
            if (told) {
                entry.put("launches", recorded.graph().nodes());
            }
            return us;
        }
    }

    // ------------------------------------------------------------------------------------------------------- parts

    private static void fill(MemorySegment pixels) {
        SplittableRandom random = new SplittableRandom(7);
        for (long i = 0; i + Long.BYTES <= pixels.byteSize(); i += Long.BYTES) {
            pixels.set(ValueLayout.JAVA_LONG_UNALIGNED, i, random.nextLong());
        }
    }

    private Tensor clips(int batch) {
        VideoMaeConfig config = sizes.config();
        Tensor clips = Tensor.empty(
                device,
                DType.U8,
                Shape.of(
                        batch,
                        config.frames(),
                        config.height(),
                        config.width(),
                        config.patches().channels()));
        try (Buffer host = Device.cpu().allocate(DType.U8, clips.shape().count())) {
            fill(host.segment());
            host.copyTo(clips.buffer());
        }
        return clips;
    }

    private Tensor labels(int batch) {
        Tensor labels = Tensor.empty(device, DType.I32, Shape.of(batch));
        try (Buffer host = Device.cpu().allocate(DType.I32, batch)) {
            for (int b = 0; b < batch; b++) {
                host.segment().setAtIndex(ValueLayout.JAVA_INT, b, b % sizes.classes());
            }
            host.copyTo(labels.buffer());
        }
        return labels;
    }
}
