package tessera.distill.egosim;

import static org.junit.jupiter.api.Assertions.assertArrayEquals;
import static org.junit.jupiter.api.Assertions.assertEquals;
import static org.junit.jupiter.api.Assertions.assertFalse;
import static org.junit.jupiter.api.Assertions.assertTrue;

import java.util.Arrays;
import java.util.EnumMap;
import java.util.HashSet;
import java.util.List;
import java.util.Map;
import java.util.Set;
import java.util.stream.IntStream;
import org.junit.jupiter.api.Test;
import tessera.distill.data.ClipSet;
import tessera.distill.data.Geometry;
import tessera.distill.data.Modality;
import tessera.distill.data.Split;
import tessera.tensor.Tensor;

/** Which things clips show, which classes recombine what is known, and how fast motions recur. */
class EgoSimStockTest {
    private static final Geometry TINY = new Geometry(16, 32, 8);

    /** Of thousands of clips of a place: what one split shows, no other does, and all of a split's things are shown. */
    @Test
    void splitsOfAPlaceShareNoThing() {
        EgoSim sim = new EgoSim(TINY, 5);
        for (Domain domain : List.of(Domain.KITCHEN, Domain.WORKSHOP)) {
            Map<Split, Set<Integer>> shown = new EnumMap<>(Split.class);
            for (Split split : List.of(Split.TARGET_UNLABELLED, Split.VALIDATION, Split.TEST)) {
                Set<Integer> things = new HashSet<>();
                for (int clip = 0; clip < 200; clip++) {
                    things.add(sim.scene(
                                    split, domain, clip % EgoSim.classes(split).size(), clip)
                            .whichObject());
                }
                assertEquals(Stock.PLACE / 3, things.size(), split + " in " + domain + " shows " + things);
                shown.values().forEach(others -> assertTrue(others.stream().noneMatch(things::contains)));
                shown.put(split, things);
            }
        }
        Set<Integer> homes = new HashSet<>();
        for (int clip = 0; clip < 400; clip++) {
            homes.add(sim.scene(Split.SOURCE_TRAIN, Domain.SOURCE, clip % 30, clip)
                    .whichObject());
        }
        assertEquals(Stock.HOMES, homes.size());
    }

    /** Paints are a function of seed, domain, noun and thing; another of each is another paint. */
    @Test
    void theSeedDrawsThePaints() {
        double[] first = paint(5, Domain.KITCHEN, Split.TEST, 0);
        assertArrayEquals(first, paint(5, Domain.KITCHEN, Split.TEST, 0));
        Set<List<Double>> paints = new HashSet<>();
        for (long seed : new long[] {5, 6, 7}) {
            for (Domain domain : Domain.ALL) {
                for (Split split : Split.values()) {
                    for (int clip = 0; clip < 40; clip++) {
                        paints.add(Arrays.stream(paint(seed, domain, split, clip))
                                .boxed()
                                .toList());
                    }
                }
            }
        }
        // 16 in homes and 12 in each of two places, for each of three seeds.
        assertEquals(3 * (16 + 12 + 12), paints.size());
    }

    /** Colours of the cup that some clip's look gives. */
    private static double[] paint(long seed, Domain domain, Split split, long clip) {
        Look.Paint paint = new Look(new Stock(seed, domain, split), new Draws(clip)).paint(Noun.CUP);
        return IntStream.range(0, 9)
                .mapToDouble(i -> paint.colours()[i / 3][i % 3])
                .toArray();
    }

    @Test
    void someNovelClassesRecombineWhatIsKnownAndOthersDoNot() {
        Split[] training = {Split.SOURCE_TRAIN, Split.TARGET_UNLABELLED};
        assertEquals(
                List.of("pour bottle", "lift pan", "shake box", "lift box"), composed(Split.TEST, Split.SOURCE_TRAIN));
        assertEquals(13, composed(Split.TEST, training).size());
        assertEquals(9, composed(Split.VALIDATION, training).size());
        assertFalse(new ActionClass(Verb.SQUEEZE, Noun.BOTTLE).isComposedOf(training));
        assertFalse(new ActionClass(Verb.TURN, Noun.HAMMER).isComposedOf(training));
    }

    private static List<String> composed(Split of, Split... seen) {
        return EgoSim.classes(of).stream()
                .filter(c -> c.isComposedOf(seen))
                .map(ActionClass::name)
                .toList();
    }

    /** A motion that recurs in less than two frames looks like a slower one; 16 frames show all as they are, 8 do not. */
    @Test
    void noMotionRecursFasterThanFramesShow() {
        double fastest = 0;
        int aliased = 0;
        int fast = 0;
        for (ActionClass what : Arrays.stream(Split.values())
                .flatMap(s -> EgoSim.classes(s).stream())
                .toList()) {
            for (int clip = 0; clip < 50; clip++) {
                Action action = new Action(what, new Draws(clip, what.hashCode()));
                double recurrences = action.recurrences();
                fastest = Math.max(fastest, recurrences);
                fast += recurrences > 0 ? 1 : 0;
                aliased += recurrences > 4 ? 1 : 0;
                assertTrue(turns(action) <= 2 * Math.max(recurrences, 1) + 3, what.name() + ": " + turns(action));
            }
        }
        assertTrue(fastest > 4.9 && fastest < 5.2, "fastest " + fastest);
        assertTrue(fastest < TINY.frames() / 2.0, "fastest " + fastest);
        assertTrue(aliased > .05 * fast, aliased + " of " + fast + " would be too fast for 8 frames");
    }

    /** How often the object's or the first hand's height turns by more than a tenth of a decimetre. */
    private static int turns(Action action) {
        int most = 0;
        for (boolean hand : new boolean[] {false, true}) {
            int turns = 0;
            int way = 0;
            double extreme = height(action, 0, hand);
            for (int i = 1; i <= 800; i++) {
                double z = height(action, i / 800.0, hand);
                if (way == 0 ? Math.abs(z - extreme) > .1 : way * (extreme - z) > .1) {
                    turns += way == 0 ? 0 : 1;
                    way = z > extreme ? 1 : -1;
                    extreme = z;
                } else if (way != 0 && way * (z - extreme) > 0) {
                    extreme = z;
                }
            }
            most = Math.max(most, turns);
        }
        return most;
    }

    private static double height(Action action, double time, boolean hand) {
        Action.Moment moment = action.at(time);
        return hand
                ? moment.hands().getFirst().wrist().origin().z()
                : moment.object().origin().z();
    }

    /** Of two domains each has half of every class's clips, which are those of that domain alone. */
    @Test
    void domainsTakeTurns() {
        EgoSim sim = new EgoSim(new Geometry(4, 16, 4), 5);
        Split split = Split.TARGET_UNLABELLED;
        List<Domain> both = List.of(Domain.KITCHEN, Domain.WORKSHOP);
        Set<Modality> rgb = Set.of(Modality.RGB);
        int classes = EgoSim.classes(split).size();
        int[] kitchens = new int[classes];
        try (ClipSet clips = EgoSimClips.render(sim, split, both, 2, 4, rgb, i -> {})) {
            assertEquals(4 * classes, clips.size());
            for (int i = 0; i < clips.size(); i++) {
                try (Tensor clip = clips.batch(Modality.RGB, new int[] {i})) {
                    float[] seen = clip.toFloats();
                    Domain domain = both.get((i % classes + 2 + i / classes) % 2);
                    byte[] alone = sim.render(split, domain, i % classes, 2 + i / classes, rgb)
                            .rgb();
                    for (int k = 0; k < seen.length; k++) {
                        assertEquals(alone[k] & 255, (int) seen[k]);
                    }
                    kitchens[i % classes] += domain == Domain.KITCHEN ? 1 : 0;
                }
            }
        }
        assertTrue(Arrays.stream(kitchens).allMatch(n -> n == 2), Arrays.toString(kitchens));
    }
}
