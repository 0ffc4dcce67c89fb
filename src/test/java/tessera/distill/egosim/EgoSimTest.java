package tessera.distill.egosim;

import static java.util.Objects.requireNonNull;
import static org.junit.jupiter.api.Assertions.assertArrayEquals;
import static org.junit.jupiter.api.Assertions.assertEquals;
import static org.junit.jupiter.api.Assertions.assertFalse;
import static org.junit.jupiter.api.Assertions.assertThrows;
import static org.junit.jupiter.api.Assertions.assertTrue;

import java.nio.ByteBuffer;
import java.util.ArrayList;
import java.util.Arrays;
import java.util.EnumMap;
import java.util.HashSet;
import java.util.List;
import java.util.Map;
import java.util.Set;
import java.util.concurrent.Callable;
import java.util.concurrent.Executors;
import java.util.zip.CRC32;
import org.junit.jupiter.api.Test;
import org.junit.jupiter.api.condition.EnabledIfSystemProperty;
import tessera.Close;
import tessera.distill.data.FlowStats;
import tessera.distill.data.Geometry;
import tessera.distill.data.Modality;
import tessera.distill.data.Split;

class EgoSimTest {
    private static final List<Domain> DOMAINS = List.of(Domain.values());

    private static final Geometry SMALL = Geometry.SMALL;
    private static final EgoSim REAL = new EgoSim(SMALL, 5);
    private static final EgoSim EXACT = new EgoSim(SMALL, Sensors.exact(SMALL), 5);

    @Test
    void splitsShareNoClassAndLabelsAreClassIndices() {
        var all = new HashSet<ActionClass>();
        int total = 0;
        for (Split split : Split.values()) {
            all.addAll(EgoSim.classes(split));
            total += EgoSim.classes(split).size();
        }
        assertEquals(total, all.size());
        assertTrue(EgoSim.classes(Split.SOURCE_TRAIN).size() >= 24);
        assertTrue(EgoSim.classes(Split.VALIDATION).size() >= 8);
        assertTrue(EgoSim.classes(Split.TEST).size() >= 12);
        assertEquals("pour cup", new ActionClass(Verb.POUR, Noun.CUP).name());
        assertEquals(
                7,
                REAL.render(Split.TEST, Domain.KITCHEN, 7, 0, Set.of(Modality.POSE))
                        .label());
    }

    @Test
    void testClassesNeedBothVerbAndNoun() {
        for (Split split : List.of(Split.VALIDATION, Split.TEST)) {
            List<ActionClass> classes = EgoSim.classes(split);
            long sharedNoun = classes.stream()
                    .filter(c -> classes.stream().anyMatch(o -> !o.equals(c) && o.noun() == c.noun()))
                    .count();
            long sharedVerb = classes.stream()
                    .filter(c -> classes.stream().anyMatch(o -> !o.equals(c) && o.verb() == c.verb()))
                    .count();
            assertTrue(sharedNoun >= classes.size() / 2, split + ": " + sharedNoun + " classes share their noun");
            assertTrue(sharedVerb >= classes.size() / 4, split + ": " + sharedVerb + " classes share their verb");
        }
    }

    @Test
    void everyClassRendersFiniteClipsInEveryDomain() {
        for (Split split : Split.values()) {
            for (int c = 0; c < EgoSim.classes(split).size(); c++) {
                Domain domain = DOMAINS.get(c % 3);
                Clip clip = REAL.render(split, domain, c, 3);
                assertEquals(16 * 64 * 64 * 3, clip.rgb().length);
                assertEquals(16 * 64 * 64 * 2, clip.flow().length);
                assertEquals(16 * 16 * 16 * 21, clip.pose().length);
                for (float v : clip.flow()) {
                    assertTrue(Math.abs(v) < 64, EgoSim.classes(split).get(c).name() + ": flow " + v);
                }
                for (float v : clip.pose()) {
                    assertTrue(v >= 0 && v <= 1, EgoSim.classes(split).get(c).name() + ": heat " + v);
                }
                assertTrue(spread(clip.rgb()) > 10, EgoSim.classes(split).get(c).name() + " is a blank picture");
            }
        }
    }

    @Test
    void clipsDependOnTheirKeysAlone() throws Exception {
        Clip first = REAL.render(Split.TEST, Domain.WORKSHOP, 3, 12);
        REAL.render(Split.TEST, Domain.WORKSHOP, 4, 9);
        Callable<Clip> again = () -> new EgoSim(SMALL, 5).render(Split.TEST, Domain.WORKSHOP, 3, 12);
        try (var threads = Executors.newFixedThreadPool(2)) {
            for (var future : threads.invokeAll(List.of(again, again, again))) {
                assertSame(first, future.get());
            }
        }
        for (Modality modality : Modality.ALL) {
            Clip alone = REAL.render(Split.TEST, Domain.WORKSHOP, 3, 12, Set.of(modality));
            assertArrayEquals(modality.equals(Modality.RGB) ? first.rgb() : new byte[0], alone.rgb());
            assertArrayEquals(modality.equals(Modality.FLOW) ? first.flow() : new float[0], alone.flow());
            assertArrayEquals(modality.equals(Modality.POSE) ? first.pose() : new float[0], alone.pose());
        }
        var others = List.of(
                REAL.render(Split.TEST, Domain.WORKSHOP, 3, 13),
                REAL.render(Split.VALIDATION, Domain.WORKSHOP, 3, 12),
                REAL.render(Split.TEST, Domain.KITCHEN, 3, 12),
                new EgoSim(SMALL, 6).render(Split.TEST, Domain.WORKSHOP, 3, 12));
        for (Clip other : others) {
            assertFalse(Arrays.equals(first.rgb(), other.rgb()));
            assertFalse(Arrays.equals(first.flow(), other.flow()));
            assertFalse(Arrays.equals(first.pose(), other.pose()));
        }
    }

    /** What was trained on these clips stays comparable. The sums are those of HotSpot's sine and the like on x86. */
    @Test
    @EnabledIfSystemProperty(named = "os.arch", matches = "amd64")
    void pixelsFlowAndHeatStayAsTheyEverWere() {
        for (EgoSim sim : List.of(REAL, EXACT)) {
            var rgb = new CRC32();
            var flow = new CRC32();
            var pose = new CRC32();
            for (Split split : Split.values()) {
                for (int c = 0; c < EgoSim.classes(split).size(); c++) {
                    Clip clip = sim.render(
                            split, DOMAINS.get(c % 3), c, c % 4, sim == REAL ? Modality.KNOWN : Modality.ALL);
                    rgb.update(clip.rgb());
                    update(flow, clip.flow());
                    update(pose, clip.pose());
                }
            }
            assertEquals("4c6709d3", Long.toHexString(rgb.getValue()));
            assertEquals(sim == REAL ? "d69fe1c1" : "6b1ecdec", Long.toHexString(flow.getValue()));
            assertEquals(sim == REAL ? "b7e2bf87" : "7c111b6d", Long.toHexString(pose.getValue()));
        }
    }

    private static void update(CRC32 sum, float[] values) {
        ByteBuffer bytes = ByteBuffer.allocate(4 * values.length);
        bytes.asFloatBuffer().put(values);
        sum.update(bytes.array());
    }

    @Test
    void exactFlowCarriesTheNextFrameBack() {
        double[] everywhere = new double[2];
        double[] onHands = new double[2];
        for (int c = 0; c < EgoSim.classes(Split.TEST).size(); c++) {
            for (Domain domain : List.of(Domain.SOURCE, Domain.KITCHEN)) {
                Clip clip = EXACT.render(Split.TEST, domain, c, 1);
                for (int t = 0; t + 1 < 16; t += 3) {
                    for (int warp = 0; warp < 2; warp++) {
                        everywhere[warp] += medianError(clip, t, warp == 1, false);
                        onHands[warp] += medianError(clip, t, warp == 1, true);
                    }
                }
            }
        }
        assertTrue(everywhere[1] < .6 * everywhere[0], "everywhere " + Arrays.toString(everywhere));
        assertTrue(onHands[1] < .6 * onHands[0], "on hands " + Arrays.toString(onHands));
    }

    @Test
    void estimatedFlowIsNearTheTruthButNotEqual() {
        Clip real = REAL.render(Split.TEST, Domain.KITCHEN, 1, 1, Set.of(Modality.FLOW));
        Clip exact = EXACT.render(Split.TEST, Domain.KITCHEN, 1, 1, Set.of(Modality.FLOW));
        double error = 0;
        for (int i = 0; i < real.flow().length; i++) {
            error += Math.abs(real.flow()[i] - exact.flow()[i]);
        }
        error /= real.flow().length;
        assertTrue(error > .02 && error < .4, "mean flow error " + error + " pixels");
    }

    @Test
    void heatMapsPeakAtTheJoints() {
        var geometry = new Geometry(16, 64, 64);
        var sim = new EgoSim(geometry, Sensors.exact(geometry), 5);
        Clip clip = sim.render(Split.SOURCE_TRAIN, Domain.SOURCE, 0, 4, Set.of(Modality.POSE));
        int checked = 0;
        for (int t = 0; t < 16; t += 5) {
            for (double[] hand : sim.joints(Split.SOURCE_TRAIN, Domain.SOURCE, 0, 4, t)) {
                for (int j = 0; j < 21; j++) {
                    double x = hand[2 * j];
                    double y = hand[2 * j + 1];
                    if (x >= 1 && y >= 1 && x < 63 && y < 63) {
                        float heat = clip.pose()[((t * 64 + (int) y) * 64 + (int) x) * 21 + j];
                        assertTrue(heat > .96, "joint " + j + " has heat " + heat);
                        checked++;
                    }
                }
            }
        }
        assertTrue(checked >= 40, checked + " joints in the picture");
        float highest = 0;
        for (float heat : clip.pose()) {
            highest = Math.max(highest, heat);
        }
        Close.within(highest, 1, .01, "highest heat");
    }

    @Test
    void domainsDifferInLightAndColour() {
        Map<Domain, double[]> mean = new EnumMap<>(Domain.class);
        for (Domain domain : DOMAINS) {
            double[] sums = new double[4];
            mean.put(domain, sums);
            for (int i = 0; i < 24; i++) {
                byte[] rgb = REAL.render(Split.SOURCE_TRAIN, domain, i, 0, Set.of(Modality.RGB))
                        .rgb();
                for (int k = 0; k < rgb.length; k++) {
                    sums[k % 3] += (rgb[k] & 255) / (rgb.length / 3.0) / 24;
                }
                sums[3] += spread(rgb) / 24;
            }
        }
        double[] source = requireNonNull(mean.get(Domain.SOURCE));
        double[] kitchen = requireNonNull(mean.get(Domain.KITCHEN));
        double[] workshop = requireNonNull(mean.get(Domain.WORKSHOP));
        assertTrue(
                kitchen[1] > source[1] + 20, Arrays.deepToString(mean.values().toArray()));
        assertTrue(
                workshop[1] < source[1] - 20, Arrays.deepToString(mean.values().toArray()));
        assertTrue(
                source[0] - source[2] > kitchen[0] - kitchen[2] + 15,
                Arrays.deepToString(mean.values().toArray()));
    }

    @Test
    void flowStatisticsAreReproducible() {
        FlowStats stats = EgoSimClips.flowStats(REAL, Split.SOURCE_TRAIN, Domain.SOURCE, 30);
        assertEquals(stats, EgoSimClips.flowStats(REAL, Split.SOURCE_TRAIN, Domain.SOURCE, 30));
        for (int k = 0; k < 2; k++) {
            Close.within(stats.mean().get(k), 0, .5, "mean flow");
            Close.within(stats.std().get(k), 1.7, 1.2, "spread of flow");
        }
    }

    @Test
    void largePicturesShowTheSameScene() {
        var full = new EgoSim(new Geometry(2, 224, 56), Sensors.exact(Geometry.FULL), 5);
        var small = new EgoSim(new Geometry(2, 56, 14), Sensors.exact(new Geometry(2, 56, 14)), 5);
        float[] fine = full.render(Split.TEST, Domain.SOURCE, 2, 0).flow();
        float[] coarse = small.render(Split.TEST, Domain.SOURCE, 2, 0).flow();
        var differences = new ArrayList<Double>();
        for (int y = 0; y < 56; y++) {
            for (int x = 0; x < 56; x++) {
                differences.add(Math.abs(fine[2 * ((4 * y + 2) * 224 + 4 * x + 2)] / 4.0 - coarse[2 * (y * 56 + x)]));
            }
        }
        differences.sort(null);
        Close.within(differences.get(differences.size() / 2), 0, .05, "median difference of flow in coarse pixels");
    }

    @Test
    void refusesClassesThatAreNotThere() {
        var e = assertThrows(
                IllegalArgumentException.class, () -> REAL.render(Split.TEST, Domain.SOURCE, 99, 0, Modality.ALL));
        assertTrue(
                requireNonNull(e.getMessage()).contains("99") && e.getMessage().contains("TEST"), e.getMessage());
        assertThrows(IllegalArgumentException.class, () -> new Geometry(16, 8, 4));
        assertThrows(IllegalArgumentException.class, () -> new Sensors(0, true, true, true, true));
    }

    @Test
    void picturesEncodeAsPng() throws Exception {
        Clip clip = REAL.render(Split.TEST, Domain.KITCHEN, 0, 0);
        var row = List.of(
                Pictures.frame(clip, SMALL, 3), Pictures.flow(clip, SMALL, 3, 4), Pictures.pose(clip, SMALL, 3));
        Pictures.Picture sheet = Pictures.sheet(row, 3).enlarged(2);
        var image = javax.imageio.ImageIO.read(new java.io.ByteArrayInputStream(sheet.png()));
        assertEquals(2 * (3 * 66 - 2), image.getWidth());
        assertEquals(128, image.getHeight());
        for (int i = 0; i < 64; i++) {
            int o = 3 * ((3 * 64 + i) * 64 + i);
            int want = ((clip.rgb()[o] & 255) << 16) | ((clip.rgb()[o + 1] & 255) << 8) | (clip.rgb()[o + 2] & 255);
            assertEquals(want, image.getRGB(2 * i + 1, 2 * i) & 0xFFFFFF);
        }
        assertThrows(IllegalArgumentException.class, () -> Png.encode(new byte[5], 2, 1));
    }

    private static void assertSame(Clip a, Clip b) {
        assertArrayEquals(a.rgb(), b.rgb());
        assertArrayEquals(a.flow(), b.flow());
        assertArrayEquals(a.pose(), b.pose());
        assertEquals(a.label(), b.label());
    }

    private static double spread(byte[] rgb) {
        double sum = 0;
        double squares = 0;
        for (byte b : rgb) {
            sum += b & 255;
            squares += (b & 255) * (b & 255);
        }
        double mean = sum / rgb.length;
        return Math.sqrt(squares / rgb.length - mean * mean);
    }

    /** Median over pixels of |frame t - frame t + 1 sampled where the flow points|, or of the plain difference. */
    private static double medianError(Clip clip, int t, boolean warp, boolean handsOnly) {
        var errors = new ArrayList<Double>();
        for (int y = 1; y < 63; y++) {
            for (int x = 1; x < 63; x++) {
                int i = (t * 64 + y) * 64 + x;
                double toX = x + (warp ? clip.flow()[2 * i] : 0);
                double toY = y + (warp ? clip.flow()[2 * i + 1] : 0);
                if (handsOnly && !onHand(clip, t, x, y)) {
                    continue;
                }
                if (toX < 0 || toY < 0 || toX >= 63 || toY >= 63) {
                    continue;
                }
                int x0 = (int) toX;
                int y0 = (int) toY;
                double fx = toX - x0;
                double fy = toY - y0;
                int o = ((t + 1) * 64 + y0) * 64 + x0;
                double error = 0;
                for (int k = 0; k < 3; k++) {
                    double top = (1 - fx) * grey(clip, 3 * o + k) + fx * grey(clip, 3 * (o + 1) + k);
                    double low = (1 - fx) * grey(clip, 3 * (o + 64) + k) + fx * grey(clip, 3 * (o + 65) + k);
                    error += Math.abs((1 - fy) * top + fy * low - grey(clip, 3 * i + k));
                }
                errors.add(error);
            }
        }
        errors.sort(null);
        return errors.isEmpty() ? 0 : errors.get(errors.size() / 2);
    }

    private static boolean onHand(Clip clip, int t, int x, int y) {
        int cell = ((t * 16 + y / 4) * 16 + x / 4) * 21;
        for (int j = 0; j < 21; j++) {
            if (clip.pose()[cell + j] > .8) {
                return true;
            }
        }
        return false;
    }

    private static int grey(Clip clip, int i) {
        return clip.rgb()[i] & 255;
    }
}
