package tessera.jmh.gpu;

import java.io.PrintWriter;
import java.lang.foreign.ValueLayout;
import java.util.ArrayList;
import java.util.LinkedHashMap;
import java.util.List;
import java.util.Locale;
import java.util.Map;
import java.util.SplittableRandom;
import tessera.kernels.Buffer;
import tessera.kernels.CudaDevice;
import tessera.kernels.DType;
import tessera.kernels.Device;
import tessera.nn.AdamW;
import tessera.nn.Params;
import tessera.nn.Student;
import tessera.nn.VideoMaeClassifier;
import tessera.nn.VideoMaeConfig;
import tessera.tensor.Losses;
import tessera.tensor.Scope;
import tessera.tensor.Shape;
import tessera.tensor.Tensor;
import tessera.tensor.TokenMask;

/**
 * Measures masked inference and training steps of a whole model, with PyTorch beside them where there is one.
 *
 * <p>Forward is from u8 clips on the device to features on the device; a session's latency is from the call to the features on
 * the host. A training step is mask, forward, cross-entropy, backward and AdamW. The features are compared with the CPU's.
 */
final class ModelBenchmark {
    private static final double[] MASK_RATIOS = {.75, .9, .5, 0};
    private static final int[] ENSEMBLES = {1, 2};
    private static final double F32_ERROR = 1e-6;
    private static final double BF16_ERROR = 1e-2;

    /** The peer's share of the time that is left when it starts. */
    private static final double PEER = .5;

    private final Device device;
    private final Sizes sizes;
    private final boolean tiny;
    private final String python;
    private final Results results;
    private final Deadline deadline;
    private final PrintWriter out;
    private final Stopwatch stopwatch;
    private final Map<String, Double> measured = new LinkedHashMap<>();
    private final Map<String, Tensor> weights = new LinkedHashMap<>();

    ModelBenchmark(
            Device device,
            Sizes sizes,
            boolean tiny,
            String python,
            Results results,
            Deadline deadline,
            PrintWriter out) {
        this.device = device;
        this.sizes = sizes;
        this.tiny = tiny;
        this.python = python;
        this.results = results;
        this.deadline = deadline;
        this.out = out;
        this.stopwatch = new Stopwatch(device, tiny);
    }

    /** Returns how many measurements failed or were wrong. */
    int run() {
        List<DType> types = device instanceof CudaDevice ? List.of(DType.BF16, DType.F32) : List.of(DType.F32);
        Params random = Params.random(Device.cpu(), DType.F32, 1);
        new VideoMaeClassifier(random, sizes.config(), 0).close();
        weights.putAll(random.all());
        Deadline own = python.equals("none") ? deadline : new Deadline(deadline.left() * (1 - PEER));
        int wrong = 0;
        try {
            for (DType type : types) {
                wrong += train(type, own);
                wrong += infer(type, own);
            }
        } finally {
            weights.values().forEach(Tensor::close);
        }
        device.trim();
        if (!python.equals("none")) {
            new Peer(python, sizes, tiny, device, results, deadline, out).run(measured);
        }
        return wrong;
    }

    private int[] batches() {
        return tiny ? new int[] {1, sizes.batch()} : new int[] {sizes.batch(), 1, 8};
    }

    /** What is measured, in a word that PyTorch's measurement of the same has too. */
    static String key(String what, String type, int batch, double maskRatio, int ensemble) {
        return String.format(Locale.ROOT, "%s %s batch %d rho %s P %d", what, type, batch, ratio(maskRatio), ensemble);
    }

    private static String ratio(double maskRatio) {
        return String.format(Locale.ROOT, "%.2f", maskRatio);
    }

    // --------------------------------------------------------------------------------------------------- inference

    private int infer(DType type, Deadline own) {
        int wrong = 0;
        try (Student student = Student.of(weights, sizes.config(), device, type)) {
            wrong += check(student, type);
            for (int batch : batches()) {
                try (Tensor clips = clips(batch)) {
                    for (double maskRatio : MASK_RATIOS) {
                        for (int ensemble : ENSEMBLES) {
                            if (own.passed()) {
                                return cutShort(wrong);
                            }
                            wrong += infer(student, clips, type, maskRatio, ensemble);
                        }
                    }
                }
            }
        } catch (RuntimeException | OutOfMemoryError e) {
            wrong += failed("forward", type, e);
        }
        return wrong;
    }

    private int infer(Student student, Tensor clips, DType type, double maskRatio, int ensemble) {
        int batch = (int) clips.size(0);
        Map<String, Object> entry = entry("forward", type, batch, maskRatio, ensemble);
        try {
            long[] seed = {0};
            double us = stopwatch
                    .time(List.of(() -> student.features(clips, maskRatio, ensemble, seed[0]++)
                            .close()))
                    .median();
            entry.put("us", us);
            entry.put("clips_per_s", batch * 1e6 / us);
            try (Student.Session session = student.session(batch, maskRatio, ensemble)) {
                double latency = latency(session);
                entry.put("session_us", latency);
                us = Math.min(us, latency);
            }
            measured.put(key("forward", type.toString(), batch, maskRatio, ensemble), us);
            return report(entry);
        } catch (RuntimeException | OutOfMemoryError e) {
            entry.put("failed", String.valueOf(e.getMessage()));
            report(entry);
            return 1;
        }
    }

    /** Median microseconds from a session's call to the features on the host. */
    private double latency(Student.Session session) {
        List<Double> times = new ArrayList<>();
        long begin = System.nanoTime();
        while (times.size() < (tiny ? 1 : 5) || !tiny && times.size() < 50 && System.nanoTime() - begin < 300e6) {
            long start = System.nanoTime();
            float[] features = session.features(times.size());
            if (!Float.isFinite(features[0])) {
                throw new IllegalStateException("the feature is " + features[0]);
            }
            times.add((System.nanoTime() - start) / 1e3);
        }
        times.sort(null);
        return times.get(times.size() / 2);
    }

    /** Compares the features of one clip with the CPU's. */
    private int check(Student student, DType type) {
        double maskRatio = .75;
        float[] expected;
        float[] actual;
        try (Student cpu = Student.of(weights, sizes.config(), Device.cpu());
                Tensor clip = clips(1);
                Tensor same = Tensor.empty(Device.cpu(), DType.U8, clip.shape())) {
            clip.buffer().copyTo(same.buffer());
            try (Tensor features = cpu.features(same, maskRatio, 1, 3)) {
                expected = values(features);
            }
            try (Tensor features = student.features(clip, maskRatio, 1, 3)) {
                actual = values(features);
            }
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

    private static float[] values(Tensor x) {
        try (Buffer host = Device.cpu().allocate(x.dtype(), x.shape().count())) {
            x.buffer().copyTo(host);
            return host.segment().toArray(ValueLayout.JAVA_FLOAT);
        }
    }

    // ---------------------------------------------------------------------------------------------------- training

    private int train(DType type, Deadline own) {
        int wrong = 0;
        for (int batch : batches()) {
            for (double maskRatio : MASK_RATIOS) {
                if (own.passed()) {
                    return cutShort(wrong);
                }
                if (batch == 1 || maskRatio == 0) {
                    continue;
                }
                Map<String, Object> entry = entry("train", type, batch, maskRatio, 1);
                try {
                    double us = train(type, batch, maskRatio);
                    entry.put("us", us);
                    entry.put("clips_per_s", batch * 1e6 / us);
                    measured.put(key("train", type.toString(), batch, maskRatio, 1), us);
                } catch (RuntimeException | OutOfMemoryError e) {
                    entry.put("failed", String.valueOf(e.getMessage()));
                    wrong++;
                }
                report(entry);
            }
        }
        return wrong;
    }

    private double train(DType type, int batch, double maskRatio) {
        VideoMaeConfig config = sizes.config();
        try (Scope scope = Scope.open()) {
            Params params = Params.random(device, DType.F32, 1).computeIn(type);
            VideoMaeClassifier model = new VideoMaeClassifier(params, config, sizes.classes());
            params.addShadows();
            Tensor clips = clips(batch);
            Tensor labels = labels(batch);
            try (AdamW optimiser = new AdamW(params.all(), .9, .999, 1e-8, .05, AdamW.matrices(params.all()))) {
                Tensor[] last = {Tensor.full(device, DType.F32, Shape.of(1), 0)};
                double us = stopwatch
                        .time(List.of(() -> {
                            try (Scope step = Scope.open()) {
                                TokenMask mask = TokenMask.tubes(
                                        device, batch, config.slots(), config.plane(), maskRatio, 1, optimiser.steps());
                                Tensor loss = Losses.crossEntropy(model.forward(clips, mask.visible()), labels);
                                loss.backward();
                                optimiser.step(1e-4);
                                last[0].buffer().device().kernels().cast(loss.buffer(), last[0].buffer());
                            }
                        }))
                        .median();
                float loss = values(last[0])[0];
                if (!Float.isFinite(loss)) {
                    throw new IllegalStateException("the loss is " + loss);
                }
                return us;
            }
        }
    }

    // ------------------------------------------------------------------------------------------------------- parts

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
        long count = clips.shape().count();
        try (Buffer host = Device.cpu().allocate(DType.U8, count)) {
            SplittableRandom random = new SplittableRandom(7);
            for (long i = 0; i + Long.BYTES <= count; i += Long.BYTES) {
                host.segment().set(ValueLayout.JAVA_LONG_UNALIGNED, i, random.nextLong());
            }
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

    private static Map<String, Object> entry(String what, DType type, int batch, double maskRatio, int ensemble) {
        Map<String, Object> entry = new LinkedHashMap<>();
        entry.put("what", what);
        entry.put("type", type.toString());
        entry.put("batch", batch);
        entry.put("rho", maskRatio);
        entry.put("P", ensemble);
        return entry;
    }

    private int report(Map<String, Object> entry) {
        results.add("models", entry);
        String head = String.format(
                Locale.ROOT,
                "%-8s %-5s batch %2d rho %s P %d ",
                entry.get("what"),
                entry.get("type"),
                entry.get("batch"),
                ratio((Double) java.util.Objects.requireNonNull(entry.get("rho"))),
                entry.get("P"));
        if (entry.get("us") instanceof Double us && !entry.containsKey("failed")) {
            out.printf(Locale.ROOT, "%s %10.1f us %10.1f clips/s", head, us, entry.get("clips_per_s"));
            if (entry.get("session_us") instanceof Double latency) {
                out.printf(Locale.ROOT, ", session %10.1f us", latency);
            }
            out.println();
        } else {
            out.println(head + " failed: " + entry.get("failed"));
        }
        return 0;
    }

    private int failed(String what, DType type, Throwable e) {
        results.add("models", Map.of("what", what, "type", type.toString(), "failed", String.valueOf(e.getMessage())));
        out.println(what + " in " + type + " failed: " + e.getMessage());
        return 1;
    }

    private int cutShort(int wrong) {
        results.put("models_cut_short", true);
        out.println("out of time: the models from here on were not measured");
        return wrong;
    }
}
