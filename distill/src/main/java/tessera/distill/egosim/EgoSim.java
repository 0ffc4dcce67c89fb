package tessera.distill.egosim;

import java.util.List;
import java.util.Set;
import tessera.distill.data.Geometry;
import tessera.distill.data.Modality;
import tessera.distill.data.Split;

/**
 * A procedural benchmark of first-person hand actions. A clip is a pure function of (seed, split, domain, class, clip
 * index), whatever else is rendered and in whatever order. Immutable: any number of threads may render from one
 * instance.
 *
 * <p>The verb shows in the motion of hands and object, the noun in a silhouette; start, pace, extent, direction,
 * handedness, place, head motion, lens, light, colours, textures and the things lying around vary freely. Flow holds
 * the head's motion as well as the hands'; with realistic {@link Sensors} flow and pose carry an estimator's errors.
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

    private final Geometry geometry;
    private final Sensors sensors;
    private final long seed;

    /** A benchmark with realistic estimators. */
    public EgoSim(Geometry geometry, long seed) {
        this(geometry, Sensors.realistic(geometry), seed);
    }

    public EgoSim(Geometry geometry, Sensors sensors, long seed) {
        this.geometry = geometry;
        this.sensors = sensors;
        this.seed = seed;
    }

    public Geometry geometry() {
        return geometry;
    }

    /** The classes of a split; a clip's label is its class's place in this list. Splits share no class. */
    public static List<ActionClass> classes(Split split) {
        return ActionClass.of(split);
    }

    /** Renders every modality of a clip. */
    public Clip render(Split split, Domain domain, int classIndex, long clipIndex) {
        return render(split, domain, classIndex, clipIndex, Modality.ALL);
    }

    /**
     * Renders the modalities asked for; those have the same values whatever else is asked for.
     *
     * @throws IllegalArgumentException if the class index is not one of the split
     */
    public Clip render(Split split, Domain domain, int classIndex, long clipIndex, Set<Modality> modalities) {
        List<ActionClass> classes = classes(split);
        if (classIndex < 0 || classIndex >= classes.size()) {
            throw new IllegalArgumentException("egosim: class index " + classIndex + " is outside split " + split
                    + ", which has " + classes.size() + " classes; pass 0 to " + (classes.size() - 1));
        }
        int frames = geometry.frames();
        int size = geometry.size();
        int area = size * size;
        int poseArea = geometry.poseSize() * geometry.poseSize() * Hand.JOINTS;
        boolean wantsRgb = modalities.contains(Modality.RGB);
        boolean wantsFlow = modalities.contains(Modality.FLOW);
        boolean wantsPose = modalities.contains(Modality.POSE);
        long clip = key(split, domain, classIndex, clipIndex);
        Scene scene = scene(domain, classes.get(classIndex), clip);
        var rgb = new byte[wantsRgb ? Math.multiplyExact(frames, 3 * area) : 0];
        var flow = new float[wantsFlow ? Math.multiplyExact(frames, 2 * area) : 0];
        var pose = new float[wantsPose ? Math.multiplyExact(frames, poseArea) : 0];
        var colours = new float[wantsRgb ? 3 * area : 0];
        var imageNoise = new Draws(clip, IMAGE_NOISE);
        var flowNoise = new Draws(clip, FLOW_NOISE);
        var detector = new HeatMaps.Detector(geometry, new Draws(clip, POSE_NOISE));
        for (int t = 0; t < frames; t++) {
            if (wantsRgb || wantsFlow) {
                scene.draw(t, colours, flow, 2 * t * area);
            }
            if (wantsRgb) {
                scene.develop(t, colours, rgb, 3 * t * area, imageNoise);
            }
            if (wantsFlow && sensors.flowErrors()) {
                FlowErrors.disturb(flow, 2 * t * area, size, flowNoise);
            }
            if (wantsPose) {
                List<double[]> hands = scene.joints(t);
                if (sensors.poseErrors()) {
                    detector.disturb(hands);
                }
                HeatMaps.paint(hands, geometry, sensors.poseSigma(), pose, t * poseArea);
            }
        }
        return new Clip(rgb, flow, pose, classIndex);
    }

    /**
     * The true places of the hands' joints in a frame, (x, y) in pixels, 42 numbers per hand; NaN where a joint lies
     * behind the lens.
     */
    public List<double[]> joints(Split split, Domain domain, int classIndex, long clipIndex, int frame) {
        return scene(domain, classes(split).get(classIndex), key(split, domain, classIndex, clipIndex))
                .joints(frame);
    }

    private long key(Split split, Domain domain, int classIndex, long clipIndex) {
        return new Draws(seed, KEYS.indexOf(split), Domain.ALL.indexOf(domain), classIndex, clipIndex).bits();
    }

    private Scene scene(Domain domain, ActionClass what, long clip) {
        return new Scene(geometry, domain, what, new Draws(clip, MOTION), new Draws(clip, APPEARANCE));
    }
}
