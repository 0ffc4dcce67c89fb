package tessera.distill.egosim;

import java.util.Arrays;
import java.util.List;
import java.util.Set;
import org.jspecify.annotations.Nullable;
import tessera.distill.data.Boxes;
import tessera.distill.data.Geometry;
import tessera.distill.data.Modality;
import tessera.distill.data.Split;
import tessera.nn.audio.MelSpectrogram;
import tessera.tensor.Tensor;

/**
 * A procedural benchmark of first-person hand actions. A clip is a pure function of (seed, split, domain, class, clip
 * index), whatever else is rendered and in whatever order. Immutable: any number of threads may render from one
 * instance.
 *
 * <p>The verb shows in the motion of hands and object, the noun in a silhouette; start, pace, extent, direction,
 * handedness, place, head motion, lens, light, colours, textures and the things lying around vary freely. Flow holds
 * the head's motion as well as the hands'; with realistic {@link Sensors} flow, pose and boxes carry an estimator's
 * errors, which grow with motion, blur, occlusion and the noise of the domain. Objects' paints are drawn from the benchmark's seed, and a target domain's
 * unlabelled, validation and test clips show different ones. The package says what is new in version {@value #VERSION}. Sound follows from what touches what, how fast: it tells a part of the verb and of the noun. A clip lasts {@link
 * #SECONDS}, however many frames it has.
 */
public final class EgoSim {
    /** The place of a split is its part of a clip's random key, so the order never changes. */
    private static final List<Split> KEYS =
            List.of(Split.SOURCE_TRAIN, Split.TARGET_UNLABELLED, Split.VALIDATION, Split.TEST);

    private static final long MOTION = 1;
    private static final long APPEARANCE = 2;
    private static final long IMAGE_NOISE = 3;
    private static final long FLOW_NOISE = 4;
    private static final long POSE_NOISE = 5;
    private static final long BOX_NOISE = 6;
    private static final long SOUND = 7;
    private static final long SOUND_NOISE = 8;

    /**
     * What is rendered: equal arguments give equal clips within a version alone. Runs note it with the seed ({@link #note}), and those on
     * clips of another version are not gone on with.
     */
    public static final int VERSION = 2;

    /** The name under which files of runs on these clips have the {@link #note}. */
    public static final String NOTED = "tessera.egosim";

    /** Seconds of a clip: 16 frames are 7.5 a second, 32 are 15. */
    public static final double SECONDS = 16 / 7.5;

    /** Samples of a second of sound. */
    public static final int SOUND_RATE = 24000;

    private final Geometry geometry;
    private final Sensors sensors;
    private final long seed;
    private @Nullable MelSpectrogram pictures;

    /** A benchmark with realistic estimators. */
    public EgoSim(Geometry geometry, long seed) {
        this(geometry, Sensors.realistic(geometry), seed);
    }

    /** @throws IllegalArgumentException if pictures are not square */
    public EgoSim(Geometry geometry, Sensors sensors, long seed) {
        if (geometry.width() != geometry.size() || geometry.poseWidth() != geometry.poseSize()) {
            throw new IllegalArgumentException("egosim: pictures of " + geometry.size() + " x " + geometry.width()
                    + " are not square, as it renders them; pass a geometry without widths");
        }
        this.geometry = geometry;
        this.sensors = sensors;
        this.seed = seed;
    }

    public Geometry geometry() {
        return geometry;
    }

    /** The version and the seed, which with a clip's own figures say all of it: {@code version 2, seed 1}. */
    public String note() {
        return "version " + VERSION + ", seed " + seed;
    }

    /** The classes of a split; a clip's label is its class's place in this list. Splits share no class. */
    public static List<ActionClass> classes(Split split) {
        return ActionClass.of(split);
    }

    /** Renders RGB, flow and pose of a clip. */
    public Clip render(Split split, Domain domain, int classIndex, long clipIndex) {
        return render(split, domain, classIndex, clipIndex, Modality.ALL);
    }

    /**
     * Renders the modalities asked for; those have the same values whatever else is asked for.
     *
     * @throws IllegalArgumentException if the class index is not one of the split
     */
    public Clip render(Split split, Domain domain, int classIndex, long clipIndex, Set<Modality> modalities) {
        int frames = geometry.frames();
        int size = geometry.size();
        int area = size * size;
        int poseArea = geometry.poseSize() * geometry.poseSize() * Hand.JOINTS;
        boolean wantsRgb = modalities.contains(Modality.RGB);
        boolean wantsFlow = modalities.contains(Modality.FLOW);
        boolean wantsPose = modalities.contains(Modality.POSE);
        boolean wantsBoxes = modalities.contains(Modality.BOXES);
        long clip = key(split, domain, classIndex, clipIndex);
        ActionClass what = classes(split).get(classIndex);
        Scene scene = scene(new Stock(seed, domain, split), what, clip, wantsBoxes);
        double frameSeconds = SECONDS / frames;
        Conditions conditions = scene.conditions();
        var rgb = new byte[wantsRgb ? Math.multiplyExact(frames, 3 * area) : 0];
        var flow = new float[wantsFlow ? Math.multiplyExact(frames, 2 * area) : 0];
        var pose = new float[wantsPose ? Math.multiplyExact(frames, poseArea) : 0];
        var boxes = new float[wantsBoxes ? frames * Boxes.PER_FRAME * Boxes.NUMBERS : 0];
        var colours = new float[wantsRgb ? 3 * area : 0];
        // Frames blur along their motion, so it is drawn for these too.
        var passing = new float[wantsRgb && !wantsFlow ? 2 * area : 0];
        var imageNoise = new Draws(clip, IMAGE_NOISE);
        var blur = new MotionBlur(size, conditions.shutter() / frameSeconds);
        var flowErrors = new FlowErrors(size, conditions, new Draws(clip, FLOW_NOISE));
        var poseDetector = new PoseDetector(size, frameSeconds, conditions, new Draws(clip, POSE_NOISE));
        var boxDetector = new BoxDetector(frameSeconds, conditions, new Draws(clip, BOX_NOISE));
        for (int t = 0; t < frames; t++) {
            float[] motion = wantsFlow ? flow : passing;
            int motionAt = wantsFlow ? 2 * t * area : 0;
            if (wantsRgb || wantsFlow) {
                scene.draw(t, colours, motion, motionAt);
            } else if (wantsBoxes || (wantsPose && sensors.poseErrors())) {
                scene.fill(t);
            }
            if (wantsRgb) {
                blur.smear(colours, motion, motionAt);
                scene.develop(t, colours, rgb, 3 * t * area, imageNoise);
            }
            if (wantsFlow && sensors.flowErrors()) {
                flowErrors.disturb(flow, 2 * t * area);
            }
            if (wantsPose) {
                List<double[]> hands = scene.joints(t);
                if (sensors.poseErrors()) {
                    poseDetector.disturb(hands, scene.joints(t + 1), scene.hiddenJoints(t));
                }
                HeatMaps.paint(hands, geometry, sensors.poseSigma(), pose, t * poseArea);
            }
            if (wantsBoxes) {
                Box.write(boxes(scene, boxDetector), boxes, t);
            }
        }
        boolean wantsAudio = modalities.contains(Modality.AUDIO);
        float[] waveform = wantsAudio ? waveform(scene, what, clip) : new float[0];
        return new Clip(rgb, flow, pose, boxes, wantsAudio ? audio(waveform) : waveform, waveform, classIndex);
    }

    /** The boxes of the frame that the scene shows, each at its thing's place. */
    private @Nullable Box[] boxes(Scene scene, BoxDetector detector) {
        List<Scene.Thing> things = scene.things();
        @Nullable Box[] boxes = BoxDetector.truth(things, geometry.size());
        if (sensors.boxErrors()) {
            detector.disturb(boxes, things);
        }
        return boxes;
    }

    private float[] waveform(Scene scene, ActionClass what, long clip) {
        float[] waveform = Sound.of(scene, what.noun(), new Draws(clip, SOUND));
        if (sensors.soundErrors()) {
            Background.add(waveform, scene.stock(), new Draws(clip, SOUND_NOISE));
        }
        return waveform;
    }

    /** Pictures of the sound around the time of each frame. */
    private float[] audio(float[] waveform) {
        var seconds = new double[geometry.frames()];
        Arrays.setAll(seconds, t -> t * SECONDS / geometry.frames());
        try (Tensor images = pictures().images(waveform, SOUND_RATE, seconds)) {
            return images.toFloats();
        }
    }

    /** Made where it is first needed, since it takes as long as a clip. */
    private synchronized MelSpectrogram pictures() {
        MelSpectrogram made = pictures == null ? new MelSpectrogram(geometry.size()) : pictures;
        pictures = made;
        return made;
    }

    /** The boxes of every frame, {@code [T][14]}, each at its thing's place; null where none is. */
    @Nullable
    Box[][] boxes(Split split, Domain domain, int classIndex, long clipIndex) {
        long clip = key(split, domain, classIndex, clipIndex);
        Scene scene = scene(new Stock(seed, domain, split), classes(split).get(classIndex), clip, true);
        var detector = new BoxDetector(SECONDS / geometry.frames(), scene.conditions(), new Draws(clip, BOX_NOISE));
        var boxes = new @Nullable Box[geometry.frames()][];
        for (int t = 0; t < boxes.length; t++) {
            scene.fill(t);
            boxes[t] = boxes(scene, detector);
        }
        return boxes;
    }

    /**
     * The true places of the hands' joints in a frame, (x, y) in pixels, 42 numbers per hand; NaN where a joint lies
     * behind the lens.
     */
    public List<double[]> joints(Split split, Domain domain, int classIndex, long clipIndex, int frame) {
        return scene(split, domain, classIndex, clipIndex).joints(frame);
    }

    /** The world of a clip. */
    Scene scene(Split split, Domain domain, int classIndex, long clipIndex) {
        long clip = key(split, domain, classIndex, clipIndex);
        return scene(new Stock(seed, domain, split), classes(split).get(classIndex), clip, false);
    }

    private long key(Split split, Domain domain, int classIndex, long clipIndex) {
        int count = classes(split).size();
        if (classIndex < 0 || classIndex >= count) {
            throw new IllegalArgumentException("egosim: class index " + classIndex + " is outside split " + split
                    + ", which has " + count + " classes; pass 0 to " + (count - 1));
        }
        return new Draws(seed, KEYS.indexOf(split), Domain.ALL.indexOf(domain), classIndex, clipIndex).bits();
    }

    private Scene scene(Stock stock, ActionClass what, long clip, boolean outlined) {
        return new Scene(geometry, stock, what, new Draws(clip, MOTION), new Draws(clip, APPEARANCE), outlined);
    }
}
