package tessera.distill.egosim;

import static java.util.Objects.requireNonNull;
import static org.junit.jupiter.api.Assertions.assertArrayEquals;
import static org.junit.jupiter.api.Assertions.assertEquals;
import static org.junit.jupiter.api.Assertions.assertNotEquals;
import static org.junit.jupiter.api.Assertions.assertTrue;

import java.util.ArrayList;
import java.util.Arrays;
import java.util.List;
import java.util.Set;
import java.util.TreeSet;
import org.jspecify.annotations.Nullable;
import org.junit.jupiter.api.Test;
import tessera.Close;
import tessera.distill.data.Boxes;
import tessera.distill.data.Geometry;
import tessera.distill.data.Modality;
import tessera.distill.data.Split;

class EgoSimBoxesTest {
    private static final Geometry SMALL = Geometry.SMALL;
    private static final EgoSim REAL = new EgoSim(SMALL, 5);
    private static final EgoSim EXACT = new EgoSim(SMALL, Sensors.exact(SMALL), 5);
    private static final int CLASSES = EgoSim.classes(Split.SOURCE_TRAIN).size();

    /** The places of the right hand, the left one and the object that is acted on. */
    private static final int HANDS = 2;

    private static final int OBJECT = 2;

    @Test
    void boxesLieInTheFrameAndPaddingFollows() {
        for (EgoSim sim : List.of(REAL, EXACT)) {
            for (int c = 0; c < CLASSES; c++) {
                float[] boxes = boxes(sim, c, 0);
                assertEquals(16 * 14 * 8, boxes.length);
                for (int t = 0; t < 16; t++) {
                    boolean padding = false;
                    for (int i = 0; i < 14; i++) {
                        int o = (t * 14 + i) * 8;
                        String what = sim == REAL ? "found" : "true";
                        what += " box " + i + " of frame " + t + " of class " + c;
                        if (boxes[o + 5] == 0) {
                            padding = true;
                            assertArrayEquals(
                                    new float[] {0, 0, 1e-9f, 1e-9f, 0, 0, 0, 0},
                                    Arrays.copyOfRange(boxes, o, o + 8),
                                    what);
                            continue;
                        }
                        assertTrue(!padding, what + " follows padding");
                        for (int k = 0; k < 5; k++) {
                            assertTrue(boxes[o + k] >= 0 && boxes[o + k] <= 1, what + ": " + boxes[o + k]);
                        }
                        assertTrue(boxes[o] < boxes[o + 2] && boxes[o + 1] < boxes[o + 3], what + " is empty");
                        boolean hand = boxes[o + 5] == 2;
                        assertTrue(hand || boxes[o + 5] == 1, what + ": class " + boxes[o + 5]);
                        assertTrue(Set.of(1f, 2f).contains(boxes[o + 6]) == hand, what + ": side " + boxes[o + 6]);
                        assertTrue(Set.of(1f, 4f).contains(boxes[o + 7]) == hand, what + ": state " + boxes[o + 7]);
                    }
                }
            }
        }
    }

    @Test
    void boxesBoundTheHandsAsDrawn() {
        int checked = 0;
        int tight = 0;
        for (int c = 0; c < CLASSES; c++) {
            @Nullable Box[][] boxes = EXACT.boxes(Split.SOURCE_TRAIN, Domain.SOURCE, c, 0);
            for (int t = 0; t < 16; t += 3) {
                // Hands are told apart by the joints' places: of both hands' boxes, one must hold each hand's joints.
                List<double[]> hands = EXACT.joints(Split.SOURCE_TRAIN, Domain.SOURCE, c, 0, t);
                int seen = (boxes[t][0] != null ? 1 : 0) + (boxes[t][1] != null ? 1 : 0);
                for (double[] hand : hands) {
                    var xs = new TreeSet<Double>();
                    var ys = new TreeSet<Double>();
                    boolean inside = true;
                    for (int j = 0; j < 21; j++) {
                        inside &= hand[2 * j] > 0 && hand[2 * j] < 64 && hand[2 * j + 1] > 0 && hand[2 * j + 1] < 64;
                        xs.add(hand[2 * j] / 64);
                        ys.add(hand[2 * j + 1] / 64);
                    }
                    // A hand behind an object has no box.
                    if (!inside || seen < hands.size()) {
                        continue;
                    }
                    boolean held = false;
                    for (int h = 0; h < HANDS; h++) {
                        Box box = boxes[t][h];
                        if (box != null
                                && box.left() <= xs.first()
                                && box.right() >= xs.last()
                                && box.top() <= ys.first()
                                && box.bottom() >= ys.last()) {
                            held = true;
                            // The wrist is .3 decimetres thick, up to 7 pixels.
                            double loose = Math.max(
                                    Math.max(xs.first() - box.left(), box.right() - xs.last()),
                                    Math.max(ys.first() - box.top(), box.bottom() - ys.last()));
                            tight += loose < 8 / 64.0 ? 1 : 0;
                        }
                    }
                    checked++;
                    assertTrue(held, "no box holds a hand of frame " + t + " of class " + c);
                }
            }
        }
        assertTrue(checked > 60, checked + " hands");
        assertTrue(tight >= .95 * checked, tight + " of " + checked + " boxes are tight");
    }

    /** Outside of all boxes of moving things, the picture moves with the head alone, as the table does: a homography's flow is smooth. */
    @Test
    void whatMovesByItselfLiesInABox() {
        int outliers = 0;
        int inBoxes = 0;
        for (int c = 0; c < CLASSES; c++) {
            Clip clip = EXACT.render(Split.SOURCE_TRAIN, Domain.SOURCE, c, 1, Set.of(Modality.FLOW));
            @Nullable Box[][] boxes = EXACT.boxes(Split.SOURCE_TRAIN, Domain.SOURCE, c, 1);
            for (int t = 0; t < 16; t += 5) {
                for (int y = 2; y < 30; y++) {
                    for (int x = 2; x < 62; x++) {
                        if (isRough(clip.flow(), (t * 64 + y) * 64 + x)) {
                            if (isBoxed(boxes[t], (x + .5) / 64, (y + .5) / 64, 2 / 64.0)) {
                                inBoxes++;
                            } else {
                                outliers++;
                            }
                        }
                    }
                }
            }
        }
        // The rest are the edges of arms, and of the table against the wall.
        assertTrue(inBoxes > 4 * outliers, inBoxes + " rough places in boxes, " + outliers + " outside");
    }

    private static boolean isRough(float[] flow, int i) {
        return Math.hypot(flow[2 * i] - flow[2 * i - 2], flow[2 * i + 1] - flow[2 * i - 1]) > .5;
    }

    private static boolean isBoxed(@Nullable Box[] boxes, double x, double y, double margin) {
        for (Box box : boxes) {
            if (box != null
                    && x > box.left() - margin
                    && x < box.right() + margin
                    && y > box.top() - margin
                    && y < box.bottom() + margin) {
                return true;
            }
        }
        return false;
    }

    @Test
    void aThingKeepsItsPlaceAndMovesSmoothly() {
        int steps = 0;
        int large = 0;
        for (int c = 0; c < CLASSES; c++) {
            @Nullable Box[][] boxes = EXACT.boxes(Split.SOURCE_TRAIN, Domain.KITCHEN, c, 2);
            for (int t = 0; t + 1 < 16; t++) {
                for (int i = 0; i < 14; i++) {
                    Box a = boxes[t][i];
                    Box b = boxes[t + 1][i];
                    if (a == null || b == null) {
                        continue;
                    }
                    assertEquals(a.kind(), b.kind());
                    assertEquals(a.side(), b.side());
                    assertEquals(i < HANDS ? Boxes.HAND : Boxes.OBJECT, a.kind());
                    steps++;
                    large += overlap(a, b) < .3 ? 1 : 0;
                }
            }
        }
        assertTrue(steps > 1000, steps + " steps");
        assertTrue(large < .02 * steps, large + " of " + steps + " steps leap");
    }

    @Test
    void hiddenThingsAreLeftOut() {
        int seen = 0;
        int absent = 0;
        for (int c = 0; c < CLASSES; c++) {
            for (@Nullable Box[] frame : EXACT.boxes(Split.SOURCE_TRAIN, Domain.SOURCE, c, 3)) {
                seen += frame[OBJECT] != null ? 1 : 0;
                absent += frame[OBJECT] == null ? 1 : 0;
            }
        }
        assertTrue(seen > .85 * (seen + absent), seen + " of " + (seen + absent) + " objects are seen");
    }

    @Test
    void boxesAreTheSameWhateverElseIsAskedFor() {
        float[] alone = boxes(REAL, 3, 4);
        assertArrayEquals(alone, boxes(new EgoSim(SMALL, 5), 3, 4));
        for (Set<Modality> more : List.of(
                Set.of(Modality.BOXES, Modality.RGB),
                Set.of(Modality.BOXES, Modality.FLOW, Modality.POSE, Modality.AUDIO))) {
            Clip clip = REAL.render(Split.SOURCE_TRAIN, Domain.SOURCE, 3, 4, more);
            assertArrayEquals(alone, clip.boxes());
            Clip without = REAL.render(Split.SOURCE_TRAIN, Domain.SOURCE, 3, 4);
            assertEquals(0, without.boxes().length);
            if (more.contains(Modality.RGB)) {
                assertArrayEquals(without.rgb(), clip.rgb());
            } else {
                assertArrayEquals(without.flow(), clip.flow());
                assertArrayEquals(without.pose(), clip.pose());
            }
        }
        assertNotEquals(Arrays.hashCode(alone), Arrays.hashCode(boxes(REAL, 3, 5)), "another clip's boxes");
    }

    @Test
    void theDetectorErrsAsDocumented() {
        var errors = new ArrayList<Double>();
        var scores = new ArrayList<Double>();
        int visible = 0;
        int found = 0;
        int extra = 0;
        int hands = 0;
        int taken = 0;
        int wrongSide = 0;
        int wrongState = 0;
        int frames = 0;
        for (int clip = 0; clip < 8; clip++) {
            for (int c = 0; c < CLASSES; c++) {
                @Nullable Box[][] truth = EXACT.boxes(Split.SOURCE_TRAIN, Domain.SOURCE, c, clip);
                @Nullable Box[][] real = REAL.boxes(Split.SOURCE_TRAIN, Domain.SOURCE, c, clip);
                for (int t = 0; t < 16; t++) {
                    frames++;
                    for (int i = 0; i < 14; i++) {
                        Box is = truth[t][i];
                        Box box = real[t][i];
                        visible += is != null ? 1 : 0;
                        if (is == null || box == null) {
                            extra += box != null ? 1 : 0;
                            continue;
                        }
                        found++;
                        double error = .25
                                * ((Math.abs(box.left() - is.left()) + Math.abs(box.right() - is.right())) / is.width()
                                        + (Math.abs(box.top() - is.top()) + Math.abs(box.bottom() - is.bottom()))
                                                / is.height());
                        if (error < .3) {
                            errors.add(error);
                            scores.add(box.score());
                        }
                        if (is.isHand()) {
                            hands++;
                            taken += box.isHand() ? 0 : 1;
                            wrongSide += box.isHand() && box.side() != is.side() ? 1 : 0;
                            wrongState += box.isHand() && box.state() != is.state() ? 1 : 0;
                        }
                    }
                }
            }
        }
        double lost = BoxDetector.LOST / (BoxDetector.LOST + BoxDetector.FOUND);
        double missed = 1 - found / (double) visible;
        assertTrue(missed > lost && missed < lost + .5 * BoxDetector.HIDDEN, "missed share " + missed);
        // The grain of homes' clips is about 1.
        Close.within(
                extra / (double) frames, BoxDetector.FALSE + BoxDetector.FALSE_IN_NOISE, .03, "false boxes of a frame");
        Close.within(taken / (double) hands, BoxDetector.TAKEN, .012, "hands taken for objects");
        Close.within(wrongSide / (double) hands, BoxDetector.SIDES, .012, "wrong sides");
        Close.within(wrongState / (double) hands, BoxDetector.CONTACT, .015, "wrong states of contact");
        // The mean of |normal| is .8 of its deviation; qualities are uniform; corners at the frame's edge do not move
        // out.
        double mean = errors.stream().mapToDouble(e -> e).average().orElseThrow();
        Close.within(mean, .8 * .5 * (BoxDetector.BEST + BoxDetector.WORST), .006, "mean error of corners");
        assertTrue(correlation(errors, scores) < -.4, "scores fall with errors: " + correlation(errors, scores));
    }

    private static double correlation(List<Double> a, List<Double> b) {
        double meanA = a.stream().mapToDouble(v -> v).average().orElseThrow();
        double meanB = b.stream().mapToDouble(v -> v).average().orElseThrow();
        double ab = 0;
        double aa = 0;
        double bb = 0;
        for (int i = 0; i < a.size(); i++) {
            ab += (a.get(i) - meanA) * (b.get(i) - meanB);
            aa += (a.get(i) - meanA) * (a.get(i) - meanA);
            bb += (b.get(i) - meanB) * (b.get(i) - meanB);
        }
        return ab / Math.sqrt(aa * bb);
    }

    /** Intersection over union. */
    private static double overlap(Box a, Box b) {
        double width = Math.min(a.right(), b.right()) - Math.max(a.left(), b.left());
        double height = Math.min(a.bottom(), b.bottom()) - Math.max(a.top(), b.top());
        double both = Math.max(0, width) * Math.max(0, height);
        return both / (a.width() * a.height() + b.width() * b.height() - both);
    }

    private static float[] boxes(EgoSim sim, int classIndex, int clip) {
        return requireNonNull(sim.render(Split.SOURCE_TRAIN, Domain.SOURCE, classIndex, clip, Set.of(Modality.BOXES)))
                .boxes();
    }
}
