package tessera.nn;

import java.lang.foreign.MemorySegment;
import java.nio.file.Path;
import java.util.LinkedHashMap;
import java.util.List;
import java.util.Map;
import org.jspecify.annotations.Nullable;
import tessera.kernels.DType;
import tessera.kernels.Device;
import tessera.tensor.Autograd;
import tessera.tensor.Scope;
import tessera.tensor.Shape;
import tessera.tensor.Tensor;
import tessera.tensor.TokenMask;

/**
 * A trained video model, ready to recognise actions with most of the tokens masked.
 *
 * <p>Ensemble masked inference (MM-CDFSL, ECCV 2024): each clip is seen through {@code ensemble} independent tube masks, and
 * the class probabilities of the passes are averaged. All passes of a call ride in one batch.
 *
 * <p>Immutable after loading and safe to share between threads; {@link #close()} frees the weights when no thread uses it
 * any more. Results are the tensors of the caller.
 */
public final class Student implements AutoCloseable {
    private final VideoMaeClassifier model;
    private final Map<String, Tensor> parameters;
    private final Device device;
    private final @Nullable Head head;
    private final @Nullable Tensor headWeight;
    private final @Nullable Tensor headBias;
    private final boolean owner;

    private Student(
            VideoMaeClassifier model,
            Map<String, Tensor> parameters,
            Device device,
            @Nullable Head head,
            boolean owner) {
        this.model = model;
        this.parameters = parameters;
        this.device = device;
        this.head = head;
        List<Tensor> here =
                head == null ? List.of() : Scope.outside(() -> List.of(onDevice(head.weight()), onDevice(head.bias())));
        this.headWeight = head == null ? null : here.get(0);
        this.headBias = head == null ? null : here.get(1);
        this.owner = owner;
    }

    /** Loads a student onto the fastest device. */
    public static Student load(Path file) {
        return load(file, Device.best());
    }

    /**
     * Loads a student file: safetensors with the model's configuration in its metadata and, where the student has learned
     * classes, a head.
     *
     * @throws IllegalArgumentException if the file is malformed or does not fit its own configuration
     */
    public static Student load(Path file, Device device) {
        return load(file, device, DType.F32);
    }

    /**
     * As {@link #load(Path, Device)}, computing in a type of the caller's.
     *
     * @param compute f32, or on a GPU bf16 (norms' statistics, softmax and features stay f32)
     */
    public static Student load(Path file, Device device, DType compute) {
        try (Checkpoint checkpoint = Checkpoint.read(file)) {
            VideoMaeConfig config = VideoMaeConfig.fromMetadata(checkpoint.metadata());
            return of(checkpoint.tensors(), config, device, compute);
        } catch (CheckpointException e) {
            throw new CheckpointException(file + ": " + e.getMessage());
        }
    }

    /**
     * A student from weights in memory, which are copied.
     *
     * @param weights {@code encoder.*}, {@code fc_norm.*}
     */
    public static Student of(Map<String, Tensor> weights, VideoMaeConfig config, Device device) {
        return of(weights, config, device, DType.F32);
    }

    /** As {@link #of(Map, VideoMaeConfig, Device)}, computing in f32 or, on a GPU, in bf16. */
    public static Student of(Map<String, Tensor> weights, VideoMaeConfig config, Device device, DType compute) {
        return Scope.outside(() -> {
            Params params = Params.from(device, DType.F32, weights).computeIn(compute);
            VideoMaeClassifier model = new VideoMaeClassifier(params, config, 0);
            try {
                params.finish();
                params.all().values().forEach(parameter -> parameter.requiresGrad(false));
                model.pack();
                return new Student(model, new LinkedHashMap<>(params.all()), device, null, true);
            } catch (RuntimeException | Error e) {
                model.close();
                throw e;
            }
        });
    }

    /**
     * Writes a file that {@link #load(Path)} reads: to a temporary name, then moved.
     *
     * @param weights of which the encoder's and the feature norm's are kept
     * @param metadata further text about the student
     */
    public static void save(
            Path file, Map<String, Tensor> weights, VideoMaeConfig config, Map<String, String> metadata) {
        Map<String, Tensor> kept = new LinkedHashMap<>();
        weights.forEach((name, tensor) -> {
            if (name.startsWith("encoder.") || name.startsWith("fc_norm.")) {
                kept.put(name, tensor);
            }
        });
        Map<String, String> entries = new LinkedHashMap<>(metadata);
        entries.putAll(config.toMetadata());
        Checkpoint.write(file, kept, entries);
    }

    /**
     * The same student with a classifier on its features. The weights are shared: close the student it came from when both
     * are done; closing the result frees no more than its copy of the head on a GPU.
     */
    public Student withHead(Head newHead) {
        if (newHead.weight().size(1) != config().embedDim()) {
            throw new IllegalArgumentException(
                    "head: the weight is " + newHead.weight().describe()
                            + " but the student's features have " + config().embedDim()
                            + " values; use a head that was learned with this student");
        }
        return new Student(model, parameters, device, newHead, false);
    }

    private Tensor onDevice(Tensor host) {
        return device.isHost() ? host : host.to(device);
    }

    public VideoMaeConfig config() {
        return model.config();
    }

    public Device device() {
        return device;
    }

    /** Names of the classes, empty without a head. */
    public List<String> labels() {
        return head == null ? List.of() : head.labels();
    }

    /**
     * Class probabilities of clips.
     *
     * @param clips u8 or f32 {@code [B, T, H, W, C]}, f32 in the units of the pixels (0 to 255)
     * @param maskRatio share of tokens that are not looked at, in [0, 1)
     * @param ensemble masks per clip, at least 1, as {@link TokenMask#ofEnsemble} draws them
     * @param seed determines the masks; clip b's masks depend on the seed and b alone
     * @return f32 {@code [B, classes]}
     * @throws IllegalStateException if the student has no head
     */
    public Tensor predict(Tensor clips, double maskRatio, int ensemble, long seed) {
        Tensor weight = headWeight;
        if (weight == null) {
            throw new IllegalStateException(
                    "predict: this student has no head; learn one and pass it to withHead, or call features");
        }
        return Autograd.noGrad(() -> {
            try (Scope scope = Scope.open()) {
                Tensor features = compute(clips, maskRatio, ensemble, seed); // [P * B, D]
                Tensor probabilities = features.linear(weight, headBias).softmax(); // [P * B, classes]
                return scope.keep(probabilities
                        .reshape(ensemble, clips.size(0), weight.size(0))
                        .mean(0)); // [B, classes]
            }
        });
    }

    /**
     * Features of clips, one per mask.
     *
     * @return f32 {@code [ensemble, B, D]}
     */
    public Tensor features(Tensor clips, double maskRatio, int ensemble, long seed) {
        return Autograd.noGrad(() -> {
            try (Scope scope = Scope.open()) {
                Tensor features = compute(clips, maskRatio, ensemble, seed);
                return scope.keep(features.reshape(ensemble, clips.size(0), config().embedDim()));
            }
        });
    }

    private Tensor compute(Tensor given, double maskRatio, int ensemble, long seed) {
        check(given, ensemble);
        Tensor clips = onThisDevice(given);
        int masked = TokenMask.maskedCells(config().plane(), maskRatio);
        if (masked == 0) {
            Tensor once = model.features(clips, null); // [B, D]
            Tensor[] copies = new Tensor[ensemble];
            java.util.Arrays.fill(copies, once);
            return ensemble == 1 ? once : Tensor.concat(0, copies);
        }
        Tensor[] embedded = new Tensor[ensemble];
        for (int p = 0; p < ensemble; p++) {
            TokenMask mask =
                    TokenMask.ofEnsemble(device, clips.size(0), config().slots(), config().plane(), maskRatio, seed, p);
            embedded[p] = model.encoder().embed(clips, mask.visible()); // [B, Nvis, D]
        }
        Tensor tokens = ensemble == 1 ? embedded[0] : Tensor.concat(0, embedded); // [P * B, Nvis, D]
        return model.pool(model.encoder().encode(tokens)); // [P * B, D]
    }

    /** The clips on this student's device; another CPU device's memory is used as it is. */
    private Tensor onThisDevice(Tensor clips) {
        return device.isHost() && clips.device().isHost() && clips.device() != device
                ? Tensor.wrap(device, clips.contiguous().segment(), clips.dtype(), clips.shape())
                : clips.to(device);
    }

    private void check(Tensor clips, int ensemble) {
        if (ensemble < 1) {
            throw new IllegalArgumentException("ensemble of " + ensemble + " masks; pass 1 or more");
        }
        Shape needed = Shape.of(
                clips.rank() == 5 ? clips.size(0) : 1,
                config().frames(),
                config().height(),
                config().width(),
                config().patches().channels());
        if (!clips.shape().equals(needed) || (clips.dtype() != DType.U8 && clips.dtype() != DType.F32)) {
            throw new IllegalArgumentException("clips are " + clips.describe() + " but the student takes u8 or f32 "
                    + needed.toString().replaceFirst("^\\[\\d+", "[batch")
                    + "; sample and resize the video to that size");
        }
    }

    /**
     * A session for repeated calls of one shape; it owns its input buffer, and the caller closes it before the student. On a GPU
     * the first call of each kind records the whole pass, from the copy of the clips to the copy of the result, in one graph,
     * and later calls launch that; a call that failed may be tried again.
     *
     * @param batch clips per call
     */
    public Session session(int batch, double maskRatio, int ensemble) {
        TokenMask.maskedCells(config().plane(), maskRatio);
        return new Session(batch, maskRatio, ensemble);
    }

    /**
     * Repeated inference of one shape. Not thread-safe: one call at a time, from any thread, as is closing; so one session per
     * thread that infers at the same time as others. A second {@link #close} does nothing; calls after it are refused.
     */
    public final class Session implements AutoCloseable {
        private final Tensor input;
        private final double maskRatio;
        private final int ensemble;
        private final @Nullable GraphSession graphs;

        private Session(int batch, double maskRatio, int ensemble) {
            VideoMaeConfig config = config();
            Shape shape = Shape.of(
                    batch,
                    config.frames(),
                    config.height(),
                    config.width(),
                    config.patches().channels());
            this.maskRatio = maskRatio;
            this.ensemble = ensemble;
            this.graphs = device.records() ? new GraphSession(device, shape) : null;
            this.input = graphs != null ? graphs.input() : Scope.outside(() -> Tensor.empty(device, DType.U8, shape));
        }

        /** The input clips, u8 {@code [batch, T, H, W, C]}, to be filled before each call; valid until the session closes. */
        public MemorySegment input() {
            return input.segment();
        }

        /** Class probabilities of the clips now in {@link #input}, {@code batch * classes} values in row-major order. */
        public float[] predict(long seed) {
            return run("predict", seed, Student.this::predict);
        }

        /** Features of the clips now in {@link #input}, {@code ensemble * batch * D} values in row-major order. */
        public float[] features(long seed) {
            return run("features", seed, Student.this::features);
        }

        private float[] run(String what, long seed, Pass pass) {
            if (graphs != null) {
                return graphs.run(what, seed, (clips, base) -> pass.of(clips, maskRatio, ensemble, base));
            }
            try (Tensor result = pass.of(input, maskRatio, ensemble, seed)) {
                return result.toFloats();
            }
        }

        @Override
        public void close() {
            if (graphs != null) {
                graphs.close();
            } else {
                input.close();
            }
        }
    }

    /** One kind of call: clips, mask ratio, ensemble, seed. */
    private interface Pass {
        Tensor of(Tensor clips, double maskRatio, int ensemble, long seed);
    }

    /** Frees the weights, unless they are shared with the student that this one was made from. */
    @Override
    public void close() {
        if (!device.isHost() && headWeight != null && headBias != null) {
            headWeight.close();
            headBias.close();
        }
        if (owner) {
            model.close();
            parameters.values().forEach(Tensor::close);
        }
    }
}
