package tessera.nn.inference;

import java.awt.image.BufferedImage;
import java.lang.foreign.MemorySegment;
import java.lang.foreign.ValueLayout;
import java.nio.file.Path;
import java.time.Duration;
import java.util.ArrayList;
import java.util.Arrays;
import java.util.List;
import java.util.concurrent.atomic.AtomicLong;
import java.util.concurrent.locks.ReentrantLock;
import java.util.function.Consumer;
import java.util.function.Function;
import java.util.function.ObjLongConsumer;
import java.util.function.Supplier;
import java.util.stream.Gatherers;
import java.util.stream.IntStream;
import java.util.stream.Stream;
import org.jspecify.annotations.Nullable;
import tessera.kernels.DType;
import tessera.kernels.Device;
import tessera.nn.ClipShape;
import tessera.tensor.Scope;
import tessera.tensor.Shape;
import tessera.tensor.Tensor;

/**
 * Recognises what frames of any size and number show: the door for an application, and for every command that looks through a
 * student. It {@link #predict predicts} with the heads it was opened with, and gives the {@link #features features} that heads are
 * learned on; for these it needs no head.
 *
 * <p>Frames are prepared as for evaluation: the middle frame of each of as many equal parts as the model takes frames ({@link
 * FrameSampling#uniform}; fewer frames are repeated), and the whole picture resized to the model's size with an antialiased
 * bilinear filter ({@link ImageOps#resize}); its aspect ratio is not kept. Frames are RGB pictures, so heads are for students that see
 * these; features of prepared clips are given by students of any input.
 *
 * <p>Safe to share between threads: calls wait for each other while they compute, since one already uses the whole device. {@link
 * #close} it when no thread uses it any more; later calls are refused with an {@link IllegalStateException}. Equal frames get
 * equal answers: the masks depend on the seed alone.
 */
public final class Predictor implements AutoCloseable {
    private static final int BATCH = 8;
    private static final int RGB = 3;

    private final Student student;
    private final @Nullable Student owned;
    private final Masking masking;
    private final long seed;
    /** One for each head, or null to look through all masks. */
    private final @Nullable List<Stopping> rules;

    private final ReentrantLock lock = new ReentrantLock();
    private final AtomicLong clipsSeen = new AtomicLong();
    private final AtomicLong preparing = new AtomicLong();
    private final AtomicLong computing = new AtomicLong();
    private Student.@Nullable Session session;
    private boolean closed;

    /**
     * How to predict.
     *
     * @param device where to compute
     * @param compute f32, or bf16 on a GPU or a CPU that has {@link Device#bf16}
     * @param masking which tokens are looked at; {@link Masking#DEFAULT} means all of them where the model cannot be masked
     * @param seed determines the masks
     * @param stopping of each head, when it has seen enough of a clip: masks are then added one at a time, until every head has; {@link
     *     Stopping#learned} for what the heads were learned with, or null to look through all masks
     */
    public record Options(
            Device device,
            DType compute,
            Masking masking,
            long seed,
            @Nullable Function<Head, Stopping> stopping) {
        /** The standard seed. */
        public static final long SEED = 1;

        /** Looks at every clip through all masks. */
        public Options(Device device, DType compute, Masking masking, long seed) {
            this(device, compute, masking, seed, null);
        }

        /** The fastest device, f32, {@link Masking#DEFAULT} and {@link #SEED}, as the command line has them. */
        public static Options standard() {
            return new Options(Device.best(), DType.F32, Masking.DEFAULT, SEED);
        }

        /** The same on another device. */
        public Options withDevice(Device other) {
            return new Options(other, compute, masking, seed, stopping);
        }

        /** The same computing in another type. */
        public Options withCompute(DType other) {
            return new Options(device, other, masking, seed, stopping);
        }

        /** The same with other masks. */
        public Options withMasking(Masking other) {
            return new Options(device, compute, other, seed, stopping);
        }

        /** The same with another seed. */
        public Options withSeed(long other) {
            return new Options(device, compute, masking, other, stopping);
        }

        /** The same with masks added one at a time, or all at once. */
        public Options withStopping(@Nullable Function<Head, Stopping> other) {
            return new Options(device, compute, masking, seed, other);
        }
    }

    /**
     * Where the time of a predictor's calls went, all threads' together; waiting for another thread's call is neither.
     *
     * @param clips that were looked at
     * @param preparing choosing frames, resizing them and copying them to where the model reads them
     * @param computing the model and its heads; features that are computed on a GPU count until they are under way there
     */
    public record Times(long clips, Duration preparing, Duration computing) {}

    private Predictor(
            Student student,
            @Nullable Student owned,
            Masking masking,
            long seed,
            @Nullable Function<Head, Stopping> stopping) {
        if (student.hasOtherHeads()) {
            requireRgb(student);
        }
        this.student = student;
        this.owned = owned;
        this.masking = masking.suiting(student.config());
        this.seed = seed;
        this.rules =
                stopping == null ? null : student.heads().stream().map(stopping).toList();
    }

    /** Opens a student with its own heads or those that were learned with it, {@link Options#standard}. */
    public static Predictor open(Path student, Path... heads) {
        return open(Options.standard(), student, heads);
    }

    private static void requireRgb(Student student) {
        int channels = student.config().input().channels();
        if (channels != RGB) {
            throw new IllegalArgumentException("the student sees " + channels
                    + " channels but frames are pictures of 3 (RGB); pass an rgb student");
        }
    }

    /**
     * Opens a student with heads that were learned with it, or those of its own file. Closing the predictor frees all of it.
     *
     * @param heads of different names; the first is the main one. Without any, the student has the heads of its file; without these
     *     too, the predictor gives features alone
     * @throws IllegalArgumentException if a file is not what it should be, heads are given but the student takes no RGB pictures, or a
     *     head was learned with another student
     */
    public static Predictor open(Options options, Path student, Path... heads) {
        List<Head> read = Arrays.stream(heads).map(Head::load).toList();
        Student loaded = Student.load(student, options.device(), options.compute());
        try {
            Student opened = read.isEmpty() ? loaded : loaded.withHeads(read);
            return new Predictor(opened, loaded, options.masking(), options.seed(), options.stopping());
        } catch (IllegalArgumentException e) {
            loaded.close();
            throw new IllegalArgumentException(student + ": " + e.getMessage(), e);
        } catch (RuntimeException | Error e) {
            loaded.close();
            throw e;
        }
    }

    /**
     * A predictor on a student, which stays the caller's and is closed after the predictor.
     *
     * @throws IllegalArgumentException if the student was given heads but takes no RGB pictures; with those of its file it gives
     *     features, as without heads
     */
    public static Predictor of(Student student, Masking masking, long seed) {
        return new Predictor(student, null, masking, seed, null);
    }

    /**
     * As {@link #of(Student, Masking, long)}, with masks added one at a time.
     *
     * @param stopping of each head, when it has seen enough of a clip, as {@link Options#stopping}
     */
    public static Predictor of(
            Student student, Masking masking, long seed, @Nullable Function<Head, Stopping> stopping) {
        return new Predictor(student, null, masking, seed, stopping);
    }

    /** The student, with its heads. It belongs to whoever opened it, and is valid until the predictor closes. */
    public Student student() {
        return student;
    }

    /** Which tokens are looked at. */
    public Masking masking() {
        return masking;
    }

    /** Determines the masks where a call names no seed of its own. */
    public long seed() {
        return seed;
    }

    /** Where the time of all calls so far went, also after {@link #close}. */
    public Times times() {
        return new Times(clipsSeen.get(), Duration.ofNanos(preparing.get()), Duration.ofNanos(computing.get()));
    }

    /**
     * What a clip shows.
     *
     * @param frames u8 {@code [count, height, width, 3]} in RGB order
     * @throws IllegalArgumentException if the frames do not fit these sizes, or the student has no head or takes no RGB pictures
     */
    public Prediction predict(byte[] frames, int count, int height, int width) {
        return predict(MemorySegment.ofArray(frames), count, height, width);
    }

    /**
     * What a clip shows.
     *
     * @param frames u8 {@code [count, height, width, 3]} in RGB order, in the heap or outside; only read
     * @throws IllegalArgumentException if the frames do not fit these sizes, or the student has no head or takes no RGB pictures
     */
    public Prediction predict(MemorySegment frames, int count, int height, int width) {
        requireHead();
        if (count < 1 || height < 1 || width < 1) {
            throw new IllegalArgumentException(
                    "frames: u8[%d, %d, %d, 3] has no pixels; give positive sizes".formatted(count, height, width));
        }
        long length = (long) RGB * height * width;
        if (frames.byteSize() != count * length) {
            throw new IllegalArgumentException(
                    "frames: u8[%d, %d, %d, 3] needs %d bytes but %d are given; pass RGB frames of that size"
                            .formatted(count, height, width, count * length, frames.byteSize()));
        }
        long[] chosen = FrameSampling.uniform(0, count, input().frames());
        if (height == input().height() && width == input().width()) {
            return one(input -> {
                for (int k = 0; k < chosen.length; k++) {
                    MemorySegment.copy(frames, chosen[k] * length, input, k * length, length);
                }
            });
        }
        long begun = System.nanoTime();
        byte[] pixels = new byte[Math.toIntExact(chosen.length * length)];
        for (int k = 0; k < chosen.length; k++) {
            MemorySegment.copy(
                    frames,
                    ValueLayout.JAVA_BYTE,
                    chosen[k] * length,
                    pixels,
                    Math.toIntExact(k * length),
                    Math.toIntExact(length));
        }
        VideoClip clip = fitted(new VideoClip(chosen.length, height, width, pixels));
        since(begun, preparing);
        return one(clip);
    }

    /**
     * What a clip shows.
     *
     * @param frames pictures of any kind and size; transparency is not looked at
     * @throws IllegalArgumentException if there are none, or the student has no head or takes no RGB pictures
     */
    public Prediction predict(List<BufferedImage> frames) {
        requireHead();
        if (frames.isEmpty()) {
            throw new IllegalArgumentException("frames: there are none; pass one or more pictures");
        }
        long[] chosen = FrameSampling.uniform(0, frames.size(), input().frames());
        long begun = System.nanoTime();
        VideoClip clip = Pictures.resized(frames, chosen, input().height(), input().width());
        since(begun, preparing);
        return one(clip);
    }

    /**
     * What each of several clips shows. As many as fit ride in one batch: clip i's masks are those of the seed plus the number of its
     * batch's first clip.
     *
     * @param clips frames of any size and number
     * @throws IllegalArgumentException if the student has no head or takes no RGB pictures
     */
    public List<Prediction> predictAll(List<VideoClip> clips) {
        List<Prediction> predictions = new ArrayList<>();
        predictAll(clips.stream(), predictions::add);
        return predictions;
    }

    /**
     * As {@link #predictAll(List)} of clips that come one after the other, such as those of a long recording: no more than a batch of
     * them is in memory.
     *
     * @param clips consumed, not closed
     * @param each gets the predictions in the order of the clips
     */
    public void predictAll(Stream<VideoClip> clips, Consumer<Prediction> each) {
        requireHead();
        batches(clips, (batch, batchSeed) -> {
            try (Scope scope = Scope.open()) {
                locked(() -> look(tensor(batch), batchSeed)).forEach(each);
            }
        });
    }

    /** The batches that clips are computed in, with the seed of each. */
    private void batches(Stream<VideoClip> clips, ObjLongConsumer<List<VideoClip>> each) {
        AtomicLong next = new AtomicLong(seed);
        clips.sequential()
                .gather(Gatherers.windowFixed(BATCH))
                .forEachOrdered(batch -> each.accept(batch, next.getAndAdd(batch.size())));
    }

    /** As {@link #features(Tensor, long)} with the predictor's seed. */
    public Tensor features(Tensor clips) {
        return features(clips, seed);
    }

    /**
     * Features of clips that are prepared as the model takes them, in one batch, one feature for each mask. Needs no head.
     *
     * @param clips u8 or f32 {@code [B, T, H, W, C]} of the model's sizes and channels, f32 in the units of the pixels (0 to 255)
     * @param seed determines the masks; clip b's depend on it and b alone
     * @return f32 {@code [ensemble, B, D]} on the student's device; it belongs to the innermost open scope, else to the caller
     * @throws IllegalArgumentException if the clips are of another type or shape
     */
    public Tensor features(Tensor clips, long seed) {
        return locked(() -> {
            long begun = System.nanoTime();
            Tensor features = student.features(clips, masking, seed);
            seen(begun, clips.size(0));
            return features;
        });
    }

    /**
     * Features of clips that are prepared here, under the masks through which {@link #predictAll} sees them. Needs no head.
     *
     * @param clips one or more, their frames of any size and number
     * @return f32 {@code [ensemble, clips, D]} on the student's device; it belongs to the innermost open scope, else to the caller
     * @throws IllegalArgumentException if there is no clip, or the student takes no RGB pictures
     */
    public Tensor features(List<VideoClip> clips) {
        requireRgb(student);
        if (clips.isEmpty()) {
            throw new IllegalArgumentException("clips: there are none; pass one or more");
        }
        try (Scope scope = Scope.open()) {
            List<Tensor> batches = new ArrayList<>();
            batches(clips.stream(), (batch, batchSeed) -> batches.add(features(tensor(batch), batchSeed)));
            return scope.keep(
                    batches.size() == 1 ? batches.getFirst() : Tensor.concat(1, batches.toArray(Tensor[]::new)));
        }
    }

    /**
     * As {@link #features(List)} of clips that come one after the other: no more than a batch of them is in memory.
     *
     * @param clips consumed, not closed
     * @param each gets the features of each batch in turn, f32 {@code [ensemble, clips, D]}, which are freed behind it
     */
    public void features(Stream<VideoClip> clips, Consumer<Tensor> each) {
        requireRgb(student);
        batches(clips, (batch, batchSeed) -> {
            try (Scope scope = Scope.open()) {
                each.accept(features(tensor(batch), batchSeed));
            }
        });
    }

    /**
     * Clips as the model takes them, chosen frames of its sizes: what {@link #predictAll} looks at.
     *
     * @param clips one or more, their frames of any size and number
     * @return u8 {@code [clips, T, H, W, 3]} on the CPU; it belongs to the innermost open scope, else to the caller
     * @throws IllegalArgumentException if there is no clip, or the student takes no RGB pictures
     */
    public Tensor prepare(List<VideoClip> clips) {
        requireRgb(student);
        if (clips.isEmpty()) {
            throw new IllegalArgumentException("clips: there are none; pass one or more");
        }
        return tensor(clips);
    }

    private Tensor tensor(List<VideoClip> batch) {
        long begun = System.nanoTime();
        ClipShape input = input();
        Tensor tensor = Tensor.empty(
                Device.cpu(), DType.U8, Shape.of(batch.size(), input.frames(), input.height(), input.width(), RGB));
        for (int i = 0; i < batch.size(); i++) {
            MemorySegment pixels =
                    MemorySegment.ofArray(fitted(sampled(batch.get(i))).pixels());
            MemorySegment.copy(pixels, 0, tensor.segment(), i * pixels.byteSize(), pixels.byteSize());
        }
        since(begun, preparing);
        return tensor;
    }

    /** Refuses a predictor that only gives features. */
    void requireHead() {
        if (student.heads().isEmpty()) {
            throw new IllegalArgumentException(
                    "predict: no head given; learn one with this student and open the predictor with it too");
        }
        requireRgb(student);
    }

    private <T> T locked(Supplier<T> body) {
        lock.lock();
        try {
            requireOpen();
            return body.get();
        } finally {
            lock.unlock();
        }
    }

    /** To be called under the lock. */
    private void requireOpen() {
        if (closed) {
            throw new IllegalStateException("the predictor is closed; open another with Predictor.open");
        }
    }

    private static void since(long begun, AtomicLong sum) {
        sum.addAndGet(System.nanoTime() - begun);
    }

    private void seen(long begun, long clips) {
        since(begun, computing);
        clipsSeen.addAndGet(clips);
    }

    private ClipShape input() {
        return student.config().input();
    }

    /** As many frames as the model takes. */
    private VideoClip sampled(VideoClip clip) {
        int frames = input().frames();
        return clip.frames() == frames ? clip : clip.select(FrameSampling.uniform(0, clip.frames(), frames));
    }

    /** Frames of the model's size. */
    private VideoClip fitted(VideoClip clip) {
        return ImageOps.resize(clip, input().height(), input().width(), true);
    }

    private Prediction one(VideoClip clip) {
        return one(input -> input.copyFrom(MemorySegment.ofArray(clip.pixels())));
    }

    /** @param fill writes the clip into the model's input */
    private Prediction one(Consumer<MemorySegment> fill) {
        lock.lock();
        try {
            requireOpen();
            if (rules != null) {
                return adaptive(fill);
            }
            long begun = System.nanoTime();
            Student.Session open = session;
            if (open == null) {
                open = student.session(1, masking);
                session = open;
                since(begun, computing);
                begun = System.nanoTime();
            }
            fill.accept(open.input());
            since(begun, preparing);
            begun = System.nanoTime();
            Prediction prediction = answer(open.predictAll(seed), masking.ensemble());
            seen(begun, 1);
            return prediction;
        } finally {
            lock.unlock();
        }
    }

    private Prediction adaptive(Consumer<MemorySegment> fill) {
        ClipShape input = input();
        long begun = System.nanoTime();
        try (Scope scope = Scope.open()) {
            Tensor clip = Tensor.empty(
                    Device.cpu(), DType.U8, Shape.of(1, input.frames(), input.height(), input.width(), RGB));
            fill.accept(clip.segment());
            since(begun, preparing);
            return look(clip, seed).getFirst();
        }
    }

    /** What clips of the model's sizes show. */
    private List<Prediction> look(Tensor clips, long batchSeed) {
        long begun = System.nanoTime();
        List<Prediction> predictions = answers(clips, batchSeed);
        seen(begun, predictions.size());
        return predictions;
    }

    private List<Prediction> answers(Tensor clips, long batchSeed) {
        if (rules != null) {
            AdaptiveEnsemble.Seen seen = AdaptiveEnsemble.predict(student, clips, masking, batchSeed, rules);
            return IntStream.range(0, seen.passes().length)
                    .mapToObj(i -> answer(seen.probabilities()[i], seen.passes()[i]))
                    .toList();
        }
        float[] all = student.predictAll(clips, masking, batchSeed).toFloats();
        int batch = Math.toIntExact(clips.size(0));
        int classes = all.length / batch;
        return IntStream.range(0, batch)
                .mapToObj(i -> answer(Arrays.copyOfRange(all, i * classes, (i + 1) * classes), masking.ensemble()))
                .toList();
    }

    /** The prediction that a row of probabilities is, in which the heads lie one after the other. */
    private Prediction answer(float[] probabilities, int passes) {
        int at = 0;
        List<Prediction.Answer> answers = new ArrayList<>();
        for (Head head : student.heads()) {
            List<Prediction.Score> scores = new ArrayList<>();
            for (String label : head.labels()) {
                float probability = probabilities[at++];
                if (!Float.isFinite(probability)) {
                    throw new IllegalArgumentException("head '" + head.name() + "' gives '" + label
                            + "' the probability " + probability + "; check the student's weights");
                }
                scores.add(new Prediction.Score(label, probability));
            }
            answers.add(new Prediction.Answer(head.name(), scores));
        }
        return new Prediction(answers, passes);
    }

    /** Frees what it opened: not the student that was given to {@link #of}. A second call does nothing. */
    @Override
    public void close() {
        lock.lock();
        try {
            closed = true;
            if (session != null) {
                session.close();
                session = null;
            }
            if (owned != null) {
                owned.close();
            }
        } finally {
            lock.unlock();
        }
    }
}
