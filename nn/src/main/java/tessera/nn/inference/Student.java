package tessera.nn.inference;

import static java.util.Objects.requireNonNull;

import java.lang.foreign.MemorySegment;
import java.nio.file.Path;
import java.util.ArrayList;
import java.util.Arrays;
import java.util.HashSet;
import java.util.LinkedHashMap;
import java.util.List;
import java.util.Map;
import java.util.Set;
import java.util.concurrent.ConcurrentHashMap;
import java.util.function.Supplier;
import org.jspecify.annotations.Nullable;
import tessera.kernels.DType;
import tessera.kernels.Device;
import tessera.kernels.Graph;
import tessera.nn.Architecture;
import tessera.nn.Checkpoint;
import tessera.nn.CheckpointException;
import tessera.nn.ClipShape;
import tessera.nn.Int8Layers;
import tessera.nn.ModelConfig;
import tessera.nn.ModelHeads;
import tessera.nn.Params;
import tessera.nn.Pooler;
import tessera.nn.Pooling;
import tessera.nn.TokenGrid;
import tessera.nn.VideoModel;
import tessera.tensor.Autograd;
import tessera.tensor.RecordedCalls;
import tessera.tensor.Scope;
import tessera.tensor.Shape;
import tessera.tensor.Tensor;
import tessera.tensor.TokenMask;

/**
 * A trained video model of any registered {@link Architecture}, ready to recognise actions with most of the tokens masked. For
 * frames of any size there is {@link Predictor} above it.
 *
 * <p>Each clip is seen through the masks of a {@link Masking}; all passes of a call ride in one batch, and clip b's masks depend on
 * the seed and b alone.
 *
 * <p>Immutable after loading and safe to share between threads; {@link #close()} frees the memory when no thread uses it
 * any more. Results are the tensors of the caller.
 */
public final class Student implements AutoCloseable {
    /** Checksum of the student that one on bytes was made from; heads that were learned with it are taken. */
    private static final String QUANTISED_FROM = "tessera.quantizedFrom";

    private final Loaded loaded;
    private final List<Classifier> classifiers;
    private final boolean owner;
    private final Pooling pooling;
    /** How tokens become features, or null if the model does it. */
    private final @Nullable Pooler pooler;

    private static final String CLOSED = "the student is closed; load it again";
    private static final String CLOSED_FIRST = "the student of this session was closed; close the session before it";

    private final Uses uses;

    /** The weights, shared by a student and those made of it, which it closes with itself. */
    private static final class Loaded {
        final VideoModel model;
        final Map<String, Tensor> parameters;
        final Device device;
        /** Entries of the file, or those that describe the model. */
        final Map<String, String> metadata;
        /** The layers on bytes, or null. */
        final @Nullable Int8Layers int8;

        final Set<Student> derived = ConcurrentHashMap.newKeySet();
        /** Calls of all students that share these weights. */
        final Uses uses = new Uses(null);

        private @Nullable String checksum;

        Loaded(
                VideoModel model,
                Map<String, Tensor> parameters,
                Device device,
                Map<String, String> metadata,
                @Nullable Int8Layers int8) {
            this.model = model;
            this.parameters = parameters;
            this.device = device;
            this.metadata = metadata;
            this.int8 = int8;
        }

        synchronized String checksum() {
            String known = checksum;
            if (known == null) {
                known = StudentFile.checksum(parameters);
                checksum = known;
            }
            return known;
        }
    }

    private Student(Loaded loaded, Pooling pooling, List<Head> heads, boolean owner) {
        this.loaded = loaded;
        this.uses = new Uses(loaded.uses);
        this.owner = owner;
        this.pooling = pooling;
        List<Classifier> made = new ArrayList<>();
        Pooler pools = null;
        try {
            requireFit(heads);
            pools = pooling.equals(Pooling.MEAN) ? null : pooling.on(loaded.model, loaded.device);
            heads.forEach(head -> made.add(Classifier.of(head, pooling, config(), loaded.device)));
        } catch (RuntimeException | Error e) {
            made.forEach(Classifier::close);
            if (pools != null) {
                pools.close();
            }
            throw e;
        }
        this.pooler = pools;
        this.classifiers = List.copyOf(made);
    }

    /** What heads look at, all of them. */
    private static Pooling pooling(List<Head> heads) {
        return heads.isEmpty()
                ? Pooling.MEAN
                : Pooling.union(heads.stream().map(Head::pooling).toList());
    }

    /** Loads a student onto the fastest device. */
    public static Student load(Path file) {
        return load(file, Device.best());
    }

    /**
     * Loads a student file: safetensors with the model's architecture and configuration in its metadata. A file with {@link
     * ModelHeads heads} gives a student with these heads.
     *
     * @throws IllegalArgumentException if the file is malformed, is no student or does not fit its own configuration
     */
    public static Student load(Path file, Device device) {
        return load(file, device, DType.F32);
    }

    /**
     * As {@link #load(Path, Device)}, computing in a type of the caller's.
     *
     * @param compute f32, or bf16 on a GPU or a CPU that has {@link Device#bf16} (norms' statistics, softmax and features stay f32); a file on bytes takes f32 on a CPU
     * @throws IllegalArgumentException also if the device does not compute in that type
     */
    public static Student load(Path file, Device device, DType compute) {
        try (Checkpoint checkpoint = Checkpoint.read(file)) {
            StudentFile.requireStudent(
                    file,
                    Architecture.of(checkpoint.metadata()),
                    checkpoint.tensors().keySet());
            return checkpoint.explaining(() -> of(checkpoint.tensors(), checkpoint.metadata(), device, compute));
        } catch (CheckpointException e) {
            throw new CheckpointException(file + ": " + e.getMessage());
        }
    }

    /**
     * A student from weights in memory, which are copied.
     *
     * @param weights those that the architecture's students have
     */
    public static Student of(Map<String, Tensor> weights, ModelConfig config, Device device) {
        return of(weights, config, device, DType.F32);
    }

    /** As {@link #of(Map, ModelConfig, Device)}, computing in f32 or bf16. */
    public static Student of(Map<String, Tensor> weights, ModelConfig config, Device device, DType compute) {
        return of(weights, config.toMetadata(), device, compute);
    }

    private static Student of(Map<String, Tensor> weights, Map<String, String> metadata, Device device, DType compute) {
        return of(weights, metadata, device, compute, Int8Layers.fromMetadata(metadata));
    }

    private static Student of(
            Map<String, Tensor> weights,
            Map<String, String> metadata,
            Device device,
            DType compute,
            @Nullable Int8Layers int8) {
        if (int8 != null) {
            requireForInt8(device, compute);
        }
        Architecture architecture = Architecture.of(metadata);
        ModelHeads own = ModelHeads.fromMetadata(metadata);
        Map<String, Tensor> backbone = new LinkedHashMap<>(weights);
        List<Head> heads = own.labels().entrySet().stream()
                .map(head -> StudentFile.head(head.getKey(), head.getValue(), metadata, backbone))
                .toList();
        return Scope.outside(() -> {
            Params params = Params.from(device, DType.F32, backbone).computeIn(compute);
            if (int8 != null) {
                params.on(int8);
            }
            VideoModel model = architecture.build(params, metadata);
            try {
                params.finish();
                params.all().values().forEach(parameter -> parameter.requiresGrad(false));
                model.pack();
                Loaded loaded = new Loaded(
                        model, new LinkedHashMap<>(params.all()), device, new LinkedHashMap<>(metadata), int8);
                return new Student(loaded, pooling(heads), heads, true);
            } catch (RuntimeException | Error e) {
                model.close();
                params.all().values().forEach(Tensor::close);
                throw e;
            }
        });
    }

    private static void requireForInt8(Device device, DType compute) {
        if (device.isHost() && compute != DType.F32) {
            throw new IllegalArgumentException("the student's weights are int8 and " + compute
                    + " is asked for; pass f32, in which everything but its linear layers is computed, or the student"
                    + " that it was made from");
        }
    }

    /**
     * Writes a file that {@link #load(Path)} reads: to a temporary name, then moved.
     *
     * @param weights of which those that the architecture's students have are kept
     * @param metadata further text about the student
     */
    public static void save(Path file, Map<String, Tensor> weights, ModelConfig config, Map<String, String> metadata) {
        save(file, weights, config, ModelHeads.NONE, metadata);
    }

    /**
     * As {@link #save(Path, Map, ModelConfig, Map)}, with heads.
     *
     * @param weights those of the model and of the heads; others are left out
     * @throws IllegalArgumentException if a head's weights are missing
     */
    public static void save(
            Path file,
            Map<String, Tensor> weights,
            ModelConfig config,
            ModelHeads heads,
            Map<String, String> metadata) {
        StudentFile.save(file, weights, config, heads, metadata);
    }

    /** As {@link #quantize(Iterable, Masking, long)}, with nothing known of the layers' inputs: every row of them is looked at. */
    public Student quantize() {
        return quantize(Int8Layers.of(Map.of()));
    }

    /**
     * The same student with its linear layers on bytes ({@link Int8Layers}): weights s8 with a scale for each output channel,
     * inputs u8 with a scale for each token, sums exact; the patch embedding, the projections of attention and the MLPs are such
     * layers. Attention's products are bf16 where the CPU multiplies that; norms, softmax, positions and heads stay f32. On a CPU with
     * VNNI or AMX it is two to three times as fast, with AVX2 alone its layers take about half of their time, and there inputs have 7
     * bits; features keep a cosine above .99 with those of f32 where the model has no inputs that are far larger than the others of
     * their row (measure it: compare {@link #features} of both).
     *
     * <p>With clips the ranges of all inputs are measured on them in f32 and kept: the least and the largest value of each layer,
     * beyond which values are later cut off. That saves looking at every row, and is coarser where tokens differ in size.
     *
     * <p>The result has copies of everything, and its heads are this one's; it takes heads that were learned with this student.
     * The caller closes it.
     *
     * @param clips u8 or f32 {@code [B, T, H, W, C]}, f32 in the units of the pixels; one or more, asked for one by one
     * @param masking through which the clips are looked at, and seed its masks
     * @throws IllegalArgumentException if this student's layers are on bytes already, it computes on a GPU, or a
     *     weight or an input is not finite
     */
    public Student quantize(Iterable<Tensor> clips, Masking masking, long seed) {
        requireF32();
        Int8Layers seen = Int8Layers.observing();
        try (Student observed = of(loaded.parameters, config().toMetadata(), device(), DType.F32, seen)) {
            for (Tensor batch : clips) {
                observed.features(batch, masking, seed).close();
            }
        }
        if (seen.ranges().isEmpty()) {
            throw new IllegalArgumentException("no clips given to calibrate on; pass one or more, or none at all");
        }
        return quantize(Int8Layers.of(seen.ranges()));
    }

    private void requireF32() {
        if (loaded.int8 != null) {
            throw new IllegalArgumentException(
                    "the student's weights are int8 already; pass the student that it was made from");
        }
        if (!device().isHost()) {
            throw new IllegalArgumentException("a student is quantised on a CPU but this one is on " + device()
                    + "; load it on the CPU, quantise and save it, and load that file on " + device());
        }
    }

    private Student quantize(Int8Layers layers) {
        requireF32();
        Map<String, String> metadata = new LinkedHashMap<>(loaded.metadata);
        metadata.keySet().removeIf(ModelHeads::isEntry);
        metadata.put(QUANTISED_FROM, checksum());
        metadata.putAll(layers.toMetadata());
        Student made = of(loaded.parameters, metadata, device(), DType.F32, layers);
        try {
            return classifiers.isEmpty() ? made : made.owning(heads());
        } catch (RuntimeException | Error e) {
            made.close();
            throw e;
        }
    }

    /** This student with heads of its own, which it takes over. */
    private Student owning(List<Head> heads) {
        return new Student(loaded, pooling(heads), heads, true);
    }

    /** Whether its linear layers are on bytes. */
    public boolean isInt8() {
        return loaded.int8 != null;
    }

    /** As {@link #save(Path, Map, ModelConfig, Map)}: this student with its heads, on bytes if it is. */
    public void save(Path file) {
        Map<String, String> entries = new LinkedHashMap<>(loaded.metadata);
        entries.putAll(config().toMetadata());
        Int8Layers int8 = loaded.int8;
        StudentFile.write(file, loaded.parameters, entries, heads(), int8 == null ? Set.of() : int8.names());
    }

    /** As {@link #withHeads} with one head. */
    public Student withHead(Head head) {
        return withHeads(List.of(head));
    }

    /**
     * The same student with these classifiers instead of those it has, each on features that are pooled as it was learned. The weights
     * are shared. The result owns its copies of the heads on the device: closing it frees them and nothing else, and closing the
     * student that was loaded frees those of every student made from it.
     *
     * @param heads of different names; the first is the main one
     * @throws IllegalArgumentException if there is none, two have one name, or one was fitted on another student
     */
    public Student withHeads(List<Head> heads) {
        heads.forEach(this::requireFittedHere);
        if (heads.isEmpty()) {
            throw new IllegalArgumentException("no head given; pass one or more");
        }
        return sharing(pooling(heads), heads);
    }

    /**
     * The same student with features that are pooled in another way, without heads: for learning some on these features. The weights are
     * shared; closing the result frees nothing of them, and closing the student that was loaded closes every student made from it.
     *
     * @throws IllegalArgumentException if the model has no tokens that can be pooled so
     */
    public Student pooled(Pooling other) {
        return sharing(other, List.of());
    }

    private Student sharing(Pooling by, List<Head> heads) {
        Student student = new Student(loaded, by, heads, false);
        loaded.derived.add(student);
        return student;
    }

    /** How tokens become {@link #features}: in all the ways in which its heads look at them. */
    public Pooling pooling() {
        return pooling;
    }

    /** Values of a feature; where it is all tokens ({@link Pooling#needsQuery}), of which masks leave fewer, without masks. */
    public int featureWidth() {
        return pooling.width(config());
    }

    private void requireFit(List<Head> heads) {
        Set<String> names = new HashSet<>();
        for (Head head : heads) {
            int width = head.pooling().width(config());
            if (head.width() != width) {
                throw new IllegalArgumentException("head: the weight is f32[" + head.classes() + ", " + head.width()
                        + "] but the student's features"
                        + (head.pooling().equals(Pooling.MEAN) ? "" : " by " + head.pooling())
                        + " have " + width + " values; use a head that was learned with this student");
            }
            if (!names.add(head.name())) {
                throw new IllegalArgumentException(
                        "two heads are called '" + head.name() + "'; give each a name of its own with Head.named");
            }
        }
    }

    private void requireFittedHere(Head head) {
        String fitted = head.student().orElse(null);
        if (fitted != null && !fitted.equals(checksum()) && !fitted.equals(loaded.metadata.get(QUANTISED_FROM))) {
            throw new IllegalArgumentException("head '" + head.name() + "' was learned with student " + brief(fitted)
                    + " but this is student " + brief(checksum())
                    + "; pass the student that it was learned with, or learn a head with this one");
        }
    }

    private static String brief(String checksum) {
        return checksum.substring(0, Math.min(12, checksum.length()));
    }

    /**
     * What tells this student's weights from others, in hexadecimal: SHA-256 over the names, shapes and f32 values of the weights in
     * the order of their names. The same on every device; metadata do not count. It is computed at the first call.
     */
    public String checksum() {
        return loaded.checksum();
    }

    /** What the model takes and gives. */
    public ModelConfig config() {
        return loaded.model.config();
    }

    public Device device() {
        return loaded.device;
    }

    /** The heads, the main one first; empty if it has none. */
    public List<Head> heads() {
        return classifiers.stream().map(Classifier::head).toList();
    }

    List<Classifier> classifiers() {
        return classifiers;
    }

    /** Whether it has heads that are not those of its file. */
    boolean hasOtherHeads() {
        return !owner && !classifiers.isEmpty();
    }

    /** Names of the main head's classes, empty without a head. */
    public List<String> labels() {
        return classifiers.isEmpty() ? List.of() : classifiers.getFirst().head().labels();
    }

    /**
     * Class probabilities of clips by the main head.
     *
     * @param clips u8 or f32 {@code [B, T, H, W, C]}, f32 in the units of the pixels (0 to 255)
     * @param seed determines the masks
     * @return f32 {@code [B, classes]}
     * @throws IllegalStateException if the student has no head
     */
    public Tensor predict(Tensor clips, Masking masking, long seed) {
        requireHead();
        return probabilities(clips, masking, seed, classifiers.subList(0, 1));
    }

    /**
     * Class probabilities of clips by every head, whose features are computed once.
     *
     * @return f32 {@code [B, classes of all heads]}, the heads one after the other
     * @throws IllegalStateException if the student has no head
     */
    public Tensor predictAll(Tensor clips, Masking masking, long seed) {
        requireHead();
        return probabilities(clips, masking, seed, classifiers);
    }

    /**
     * Class scores of clips by every head, whose features are computed once: what softmax makes probabilities of, and what is
     * averaged over several views of a clip. Of an ensemble's passes it is the mean, whatever the masking's aggregation.
     *
     * @param clips u8 or f32 {@code [B, T, H, W, C]}, f32 in the units of the pixels (0 to 255)
     * @param seed determines the masks
     * @return f32 {@code [B, classes of all heads]}, the heads one after the other
     * @throws IllegalStateException if the student has no head
     */
    public Tensor logits(Tensor clips, Masking masking, long seed) {
        requireHead();
        return used(() -> {
            try (Scope scope = Scope.open()) {
                Tensor features = Aggregation.mean(compute(clips, masking, seed), masking.ensemble()); // [B, D]
                return scope.keep(Classifier.scores(classifiers, features));
            }
        });
    }

    private void requireHead() {
        if (classifiers.isEmpty()) {
            throw new IllegalStateException(
                    "predict: this student has no head; learn one and pass it to withHead, or call features");
        }
    }

    private Tensor probabilities(Tensor clips, Masking masking, long seed, List<Classifier> by) {
        return used(() -> {
            try (Scope scope = Scope.open()) {
                Tensor features = compute(clips, masking, seed); // [P * B, D]
                return scope.keep(Classifier.probabilities(by, features, masking.ensemble(), masking.aggregation()));
            }
        });
    }

    /**
     * Features of clips, one per mask.
     *
     * @param seed determines the masks
     * @return f32 {@code [ensemble, B, D]}, D of {@link #featureWidth}, or less where that says so
     */
    public Tensor features(Tensor clips, Masking masking, long seed) {
        return used(() -> {
            try (Scope scope = Scope.open()) {
                Tensor features = compute(clips, masking, seed);
                return scope.keep(features.reshape(masking.ensemble(), clips.size(0), features.size(1)));
            }
        });
    }

    private Tensor used(Supplier<Tensor> body) {
        return uses.call(CLOSED, () -> Autograd.noGrad(body));
    }

    private Tensor compute(Tensor given, Masking masking, long seed) {
        check(given);
        Tensor clips = here(given);
        VideoModel model = masking.reduction().of(loaded.model, pooling);
        TokenGrid grid = grid(masking);
        if (grid == null) {
            Tensor once = pooler == null ? model.features(clips, null) : pooler.features(clips, List.of()); // [B, D]
            Tensor[] copies = new Tensor[masking.ensemble()];
            Arrays.fill(copies, once);
            return copies.length == 1 ? once : Tensor.concat(0, copies);
        }
        DrawnMasks drawn = new DrawnMasks(masking, grid, device(), pooling, given, seed);
        if (masking.strategy().looksBack()) {
            Pooler by = pooler == null ? Pooling.MEAN.on(loaded.model, device()) : pooler; // MEAN has nothing to close
            return new LookingBack(by, clips, drawn).features();
        }
        List<TokenMask> masks = drawn.all();
        return pooler == null
                ? model.maskedFeatures(clips, masks) // [P * B, D]
                : pooler.features(clips, masks.stream().map(TokenMask::visible).toList());
    }

    /** The tokens that masks choose from, or null where they hide none. */
    private @Nullable TokenGrid grid(Masking masking) {
        TokenGrid grid = config().grid();
        if (grid == null && masking.ratio() > 0) {
            throw new IllegalArgumentException("mask ratio " + masking.ratio()
                    + " but models of this architecture see every token; pass Masking.none()");
        }
        return grid == null || TokenMask.maskedCells(grid.plane(), masking.ratio()) == 0 ? null : grid;
    }

    private Tensor here(Tensor tensor) {
        return on(device(), tensor);
    }

    /** A tensor on a device; another CPU device's memory is used as it is. */
    static Tensor on(Device device, Tensor tensor) {
        return device.isHost() && tensor.device().isHost() && !tensor.device().equals(device)
                ? Tensor.wrap(device, tensor.contiguous().segment(), tensor.dtype(), tensor.shape())
                : tensor.to(device);
    }

    private Shape clips(long batch) {
        ClipShape input = config().input();
        return Shape.of(batch, input.frames(), input.height(), input.width(), input.channels());
    }

    private void check(Tensor clips) {
        Shape needed = clips(clips.rank() == 5 ? clips.size(0) : 1);
        if (!clips.shape().equals(needed) || (clips.dtype() != DType.U8 && clips.dtype() != DType.F32)) {
            throw new IllegalArgumentException("clips are " + clips.describe() + " but the student takes u8 or f32 "
                    + needed.toString().replaceFirst("^\\[\\d+", "[batch")
                    + "; sample and resize the video to that size");
        }
    }

    /**
     * A session for repeated calls of one shape; it owns its input buffer, and the caller closes it before the student. Calls
     * are {@link RecordedCalls}: the second call of each kind records the whole pass in one graph, which it and later
     * calls launch (unless the mask strategy is not {@link tessera.nn.MaskStrategy#recordable recordable}, or {@link
     * Masking#reduction tokens are reduced}). It keeps the memory of a pass until the session is closed.
     *
     * @param batch clips per call
     */
    public Session session(int batch, Masking masking) {
        grid(masking);
        return new Session(batch, masking);
    }

    /**
     * Repeated inference of one shape. Not thread-safe: one call at a time, from any thread, as is closing; so one session per
     * thread that infers at the same time as others. A second {@link #close} does nothing; calls after it or the student's are refused.
     * A call that is given an array writes its values there, and refuses one of another length.
     */
    public final class Session implements AutoCloseable {
        private final RecordedCalls calls;
        private final Pass predict;
        private final Pass predictAll;
        private final Pass features;

        private Session(int batch, Masking masking) {
            this.predict = new Pass("predict", masking, Student.this::predict);
            this.predictAll = new Pass("predictAll", masking, Student.this::predictAll);
            this.features = new Pass("features", masking, Student.this::features);
            RecordedCalls.Input clips = new RecordedCalls.Input(DType.U8, clips(batch));
            this.calls = new RecordedCalls(device(), DrawnMasks.recordable(masking, pooling), List.of(clips));
        }

        /** The input clips, u8 {@code [batch, T, H, W, C]}, to be filled before each call; valid until the session closes. */
        public MemorySegment input() {
            return calls.input(0).segment();
        }

        /** Class probabilities of the clips now in {@link #input}, {@code batch * classes} values in row-major order. */
        public float[] predict(long seed) {
            return run(predict, seed);
        }

        /** As {@link #predict(long)}, into an array of that size. */
        public void predict(long seed, float[] probabilities) {
            run(predict, seed, probabilities);
        }

        /** The same by every head, {@code batch * classes of all heads} values, as {@link Student#predictAll} orders them. */
        public float[] predictAll(long seed) {
            return run(predictAll, seed);
        }

        /** As {@link #predictAll(long)}, into an array of that size. */
        public void predictAll(long seed, float[] probabilities) {
            run(predictAll, seed, probabilities);
        }

        /** Features of the clips now in {@link #input}, {@code ensemble * batch * D} values in row-major order. */
        public float[] features(long seed) {
            return run(features, seed);
        }

        /** As {@link #features(long)}, into an array of that size. */
        public void features(long seed, float[] values) {
            run(features, seed, values);
        }

        private float[] run(Pass pass, long seed) {
            uses.enter(CLOSED_FIRST); // a graph would read freed weights
            Map<String, float[]> results;
            try {
                results = calls.run(pass.name(), Graph.Variables.ofSeed(seed), pass);
            } finally {
                uses.leave();
            }
            return requireNonNull(results.get(pass.name()), "the recorded call returned no result of its own name");
        }

        private void run(Pass pass, long seed, float[] target) {
            uses.enter(CLOSED_FIRST);
            try {
                calls.run(pass.name(), Graph.Variables.ofSeed(seed), pass, target);
            } finally {
                uses.leave();
            }
        }

        @Override
        public void close() {
            calls.close();
        }
    }

    /**
     * Frees the copies of the heads and, if this is the student that was loaded, the weights and the heads of the students made of
     * it. A second call does nothing.
     *
     * @throws IllegalStateException if another thread's call is running that would lose what it reads; nothing is freed then
     */
    @Override
    public void close() {
        if (!(owner ? loaded.uses : uses).close()) {
            return;
        }
        classifiers.forEach(Classifier::close);
        if (pooler != null) {
            pooler.close();
        }
        loaded.derived.remove(this);
        if (owner) {
            List.copyOf(loaded.derived).forEach(Student::close);
            loaded.model.close();
            loaded.parameters.values().forEach(Tensor::close);
        }
    }
}
