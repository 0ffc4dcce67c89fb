package tessera.distill.egosim;

import static org.junit.jupiter.api.Assertions.assertArrayEquals;
import static org.junit.jupiter.api.Assertions.assertEquals;
import static org.junit.jupiter.api.Assertions.assertFalse;
import static org.junit.jupiter.api.Assertions.assertTrue;

import java.util.Arrays;
import java.util.List;
import java.util.Set;
import org.jspecify.annotations.Nullable;
import org.junit.jupiter.api.Test;
import tessera.Close;
import tessera.distill.data.Geometry;
import tessera.distill.data.Modality;
import tessera.distill.data.Split;

class EgoSimSoundTest {
    private static final Geometry SMALL = Geometry.SMALL;
    private static final EgoSim REAL = new EgoSim(SMALL, 5);
    private static final EgoSim EXACT = new EgoSim(SMALL, Sensors.exact(SMALL), 5);
    private static final List<ActionClass> CLASSES = EgoSim.classes(Split.SOURCE_TRAIN);

    private static final Stock HOMES = new Stock(5, Domain.SOURCE, Split.SOURCE_TRAIN);

    /** Samples from a frame to the next. */
    private static final int PER_FRAME = 3200;

    @Test
    void silentUntilTheFirstTouchAndHeardWithinAFrameOfIt() {
        int onsets = 0;
        int silences = 0;
        for (int c = 0; c < CLASSES.size(); c++) {
            for (int clip = 0; clip < 6; clip++) {
                int frame = firstTouch(c, clip);
                float[] waveform = sound(EXACT, c, clip).waveform();
                Verb verb = CLASSES.get(c).verb();
                int first = 0;
                while (first < waveform.length && waveform[first] == 0) {
                    first++;
                }
                String what = CLASSES.get(c).name() + " " + clip;
                if (frame > 0) {
                    silences++;
                    assertTrue(
                            first >= (frame - 1) * PER_FRAME, what + ": sound at " + first + " before frame " + frame);
                    assertTrue(loudness(waveform, 0, (frame - 1) * PER_FRAME) == 0, what);
                    onsets++;
                    assertTrue(
                            first <= frame * PER_FRAME,
                            what + ": first sound at " + first + ", touch seen in frame " + frame);
                }
                assertTrue(verb == Verb.PUT_DOWN || Background.loudness(waveform) > 1e-4, what + " has no sound");
            }
        }
        assertTrue(onsets > 25 && silences > 25, onsets + " onsets, " + silences + " silences");
    }

    /** The first frame in which a hand is seen to touch the object, or -1 if one is out of sight before. */
    private static int firstTouch(int c, int clip) {
        @Nullable Box[][] boxes = EXACT.boxes(Split.SOURCE_TRAIN, Domain.SOURCE, c, clip);
        for (int t = 0; t < 16; t++) {
            int seen = 0;
            boolean touching = false;
            for (int h = 0; h < 2; h++) {
                Box hand = boxes[t][h];
                seen += hand != null ? 1 : 0;
                touching |= hand != null && hand.state() == Box.TOUCHING;
            }
            int hands =
                    EXACT.joints(Split.SOURCE_TRAIN, Domain.SOURCE, c, clip, t).size();
            if (touching || seen < hands) {
                return touching && seen == hands ? t : -1;
            }
        }
        return -1;
    }

    @Test
    void soundDependsOnItsKeysAlone() {
        Clip first = sound(REAL, 4, 2);
        assertEquals(51200, first.waveform().length);
        assertEquals(16 * 64 * 64, first.audio().length);
        Clip more = REAL.render(
                Split.SOURCE_TRAIN, Domain.SOURCE, 4, 2, Set.of(Modality.AUDIO, Modality.RGB, Modality.BOXES));
        assertArrayEquals(first.waveform(), more.waveform());
        assertArrayEquals(first.audio(), more.audio());
        assertArrayEquals(first.waveform(), sound(new EgoSim(SMALL, 5), 4, 2).waveform());
        Clip without = REAL.render(Split.SOURCE_TRAIN, Domain.SOURCE, 4, 2);
        assertEquals(0, without.waveform().length + without.audio().length);
        assertArrayEquals(without.rgb(), more.rgb());
        for (Clip other : List.of(
                sound(REAL, 4, 3),
                sound(REAL, 5, 2),
                sound(new EgoSim(SMALL, 6), 4, 2),
                REAL.render(Split.SOURCE_TRAIN, Domain.WORKSHOP, 4, 2, Set.of(Modality.AUDIO)))) {
            assertFalse(Arrays.equals(first.waveform(), other.waveform()));
        }
    }

    @Test
    void moreFramesShowTheSameSound() {
        var slow = new Geometry(8, 32, 8);
        var fast = new Geometry(32, 32, 8);
        Clip few = new EgoSim(slow, 5).render(Split.TEST, Domain.KITCHEN, 2, 1, Set.of(Modality.AUDIO));
        Clip many = new EgoSim(fast, 5).render(Split.TEST, Domain.KITCHEN, 2, 1, Set.of(Modality.AUDIO));
        assertArrayEquals(few.waveform(), many.waveform());
        int frame = 32 * 32;
        for (int t = 0; t < 8; t++) {
            Close.relative(
                    Arrays.copyOfRange(many.audio(), 4 * t * frame, (4 * t + 1) * frame),
                    Arrays.copyOfRange(few.audio(), t * frame, (t + 1) * frame),
                    1e-5,
                    "the same moment's picture");
        }
    }

    @Test
    void nounsDifferInTheirSpectra() {
        var table = Timbre.table(Domain.SOURCE, new Draws(1));
        assertTrue(table.pitch() > 100 && table.pitch() < 250, "a wooden table of " + table.pitch() + " Hz");
        // Strokes alone: the mean frequency of what is heard, for objects from dull to bright.
        List<Noun> brighter = List.of(Noun.SPONGE, Noun.BOOK, Noun.BOWL, Noun.KNIFE);
        double before = 0;
        for (Noun noun : brighter) {
            double mean = 0;
            for (int object = 0; object < 4; object++) {
                var waveform = new float[51200];
                Sound.stroke(waveform, Timbre.of(noun, HOMES, object), 0, .1, new Draws(object));
                mean += brightness(waveform) / 4;
            }
            assertTrue(mean > 1.3 * before, noun + " has a mean frequency of " + mean + " Hz after " + before);
            before = mean;
        }
    }

    @Test
    void theRoomIsAsLoudAsDocumented() {
        for (Domain domain : List.of(Domain.SOURCE, Domain.WORKSHOP)) {
            int place = Domain.ALL.indexOf(domain);
            double sum = 0;
            int clips = 200;
            for (int i = 0; i < clips; i++) {
                // A clip's own sound: a tone of -20 dB.
                var waveform = new float[51200];
                for (int k = 0; k < waveform.length; k++) {
                    waveform[k] = (float) (.1 * Math.sqrt(2) * Math.sin(2 * Math.PI * 3000 * k / 24000.0));
                }
                Background.add(waveform, new Stock(5, domain, Split.SOURCE_TRAIN), new Draws(i, place));
                double tone = 0;
                for (int k = 0; k < waveform.length; k++) {
                    tone += waveform[k] * Math.sqrt(2) * Math.sin(2 * Math.PI * 3000 * k / 24000.0) / waveform.length;
                }
                double rest = Math.sqrt(Math.max(0, Math.pow(Background.loudness(waveform), 2) - tone * tone));
                double gain = 20 * Math.log10(tone / .1);
                assertTrue(Math.abs(gain) < Background.GAIN + .5, "gain " + gain + " dB");
                sum += 20 * Math.log10(tone / rest) / clips;
            }
            // Strokes of other things take a little away.
            Close.within(sum, 17.5 - 5 * place, 1.5, "mean ratio of sound to room, dB, in " + domain);
        }
        float[] quiet = new float[51200];
        Background.add(quiet, HOMES, new Draws(3));
        assertTrue(Background.loudness(quiet) > 1e-5, "a silent clip has a room");
    }

    /** Mean frequency of a waveform's power, from the ratio of its slope's power to its own. */
    private static double brightness(float[] waveform) {
        double power = 0;
        double slope = 0;
        for (int i = 1; i < waveform.length; i++) {
            power += waveform[i] * waveform[i];
            slope += (waveform[i] - waveform[i - 1]) * (waveform[i] - waveform[i - 1]);
        }
        return EgoSim.SOUND_RATE / Math.PI * Math.asin(Math.min(1, .5 * Math.sqrt(slope / power)));
    }

    private static double loudness(float[] waveform, int from, int to) {
        double sum = 0;
        for (int i = Math.max(0, from); i < to; i++) {
            sum += Math.abs(waveform[i]);
        }
        return sum;
    }

    private static Clip sound(EgoSim sim, int classIndex, int clip) {
        return sim.render(Split.SOURCE_TRAIN, Domain.SOURCE, classIndex, clip, Set.of(Modality.AUDIO));
    }
}
