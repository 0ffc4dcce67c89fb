package tessera.distill.egosim;

import static org.junit.jupiter.api.Assertions.assertArrayEquals;
import static org.junit.jupiter.api.Assertions.assertEquals;
import static org.junit.jupiter.api.Assertions.assertThrows;
import static org.junit.jupiter.api.Assertions.assertTrue;

import java.util.ArrayList;
import java.util.Arrays;
import java.util.List;
import java.util.Set;
import java.util.function.Function;
import org.junit.jupiter.api.Test;
import tessera.distill.data.Boxes;
import tessera.distill.data.ClipSet;
import tessera.distill.data.Geometry;
import tessera.distill.data.HeadLabels;
import tessera.distill.data.Modality;
import tessera.distill.data.Split;
import tessera.tensor.Tensor;

/** What simple figures of boxes and of sound tell about verbs and nouns, in clips as realistic sensors give them. */
class EgoSimProbeTest {
    private static final Geometry TINY = new Geometry(16, 32, 8);
    private static final EgoSim SIM = new EgoSim(TINY, 5);
    private static final Set<Modality> SEEN = Set.of(Modality.BOXES, Modality.AUDIO);

    @Test
    void boxesAndSoundTellVerbsAndNounsPartly() {
        try (ClipSet train = render(0, 12);
                ClipSet held = render(12, 6)) {
            for (String head : List.of(EgoSimClips.VERB, EgoSimClips.NOUN)) {
                HeadLabels labels = train.head(head);
                double chance = 0;
                for (int k = 0; k < labels.classes().size(); k++) {
                    int label = k;
                    chance = Math.max(
                            chance,
                            Arrays.stream(labels.ofClip())
                                            .filter(l -> l == label)
                                            .count()
                                    / (double) train.size());
                }
                double byBoxes = accuracy(train, held, head, Modality.BOXES, EgoSimProbeTest::boxFigures);
                double bySound = accuracy(train, held, head, Modality.AUDIO, EgoSimProbeTest::soundFigures);
                String what =
                        "%s: boxes %.3f, sound %.3f, most frequent %.3f".formatted(head, byBoxes, bySound, chance);
                assertTrue(byBoxes > chance + .1 && byBoxes < .9, what);
                assertTrue(bySound > chance + .1 && bySound < .9, what);
            }
        }
    }

    @Test
    void rangesOfClipsAreTheSameClasses() {
        try (ClipSet all =
                        EgoSimClips.render(SIM, Split.VALIDATION, Domain.KITCHEN, 3, Set.of(Modality.BOXES), i -> {});
                ClipSet last = EgoSimClips.render(
                        SIM, Split.VALIDATION, List.of(Domain.KITCHEN), 2, 1, Set.of(Modality.BOXES), i -> {})) {
            int classes = EgoSim.classes(Split.VALIDATION).size();
            assertEquals(3 * classes, all.size());
            assertEquals(classes, last.size());
            assertEquals(List.of("action", "noun", "verb"), all.heads());
            assertEquals(
                    "pull",
                    all.head("verb").classes().get(all.head("verb").ofClip()[2]),
                    EgoSim.classes(Split.VALIDATION).get(2).name());
            int[] ownPlaces = new int[classes];
            int[] places = new int[classes];
            Arrays.setAll(ownPlaces, i -> i);
            Arrays.setAll(places, i -> 2 * classes + i);
            try (Tensor a = last.batch(Modality.BOXES, ownPlaces);
                    Tensor b = all.batch(Modality.BOXES, places)) {
                assertArrayEquals(b.toFloats(), a.toFloats());
            }
        }
        assertThrows(
                IllegalArgumentException.class,
                () -> EgoSimClips.render(SIM, Split.TEST, List.of(Domain.SOURCE), -1, 1, SEEN, i -> {}));
        assertThrows(
                IllegalArgumentException.class,
                () -> EgoSimClips.render(SIM, Split.TEST, List.of(Domain.SOURCE), 0, 0, SEEN, i -> {}));
        assertThrows(IllegalArgumentException.class, () -> new EgoSim(TINY.withWidth(40), 5));
    }

    private static ClipSet render(long first, int perClass) {
        return EgoSimClips.render(SIM, Split.SOURCE_TRAIN, List.of(Domain.SOURCE), first, perClass, SEEN, i -> {});
    }

    /** Share of held-out clips whose figures are nearest to their own class's mean. */
    private static double accuracy(
            ClipSet train, ClipSet held, String head, Modality modality, Function<float[], double[]> figures) {
        double[][] known = figures(train, modality, figures);
        double[][] asked = figures(held, modality, figures);
        int width = known[0].length;
        var mean = new double[width];
        var spread = new double[width];
        for (double[] row : known) {
            for (int k = 0; k < width; k++) {
                mean[k] += row[k] / known.length;
            }
        }
        for (double[] row : known) {
            for (int k = 0; k < width; k++) {
                spread[k] += (row[k] - mean[k]) * (row[k] - mean[k]) / known.length;
            }
        }
        HeadLabels labels = train.head(head);
        var centres = new double[labels.classes().size()][width];
        var counts = new int[centres.length];
        for (int label : labels.ofClip()) {
            counts[label]++;
        }
        for (int i = 0; i < known.length; i++) {
            int label = labels.ofClip()[i];
            for (int k = 0; k < width; k++) {
                centres[label][k] += known[i][k] / counts[label];
            }
        }
        int right = 0;
        int[] truth = held.head(head).ofClip();
        for (int i = 0; i < asked.length; i++) {
            int best = 0;
            double least = Double.POSITIVE_INFINITY;
            for (int c = 0; c < centres.length; c++) {
                double far = 0;
                for (int k = 0; k < width; k++) {
                    double d = asked[i][k] - centres[c][k];
                    far += d * d / (spread[k] + 1e-9);
                }
                if (far < least) {
                    least = far;
                    best = c;
                }
            }
            right += best == truth[i] ? 1 : 0;
        }
        return right / (double) asked.length;
    }

    private static double[][] figures(ClipSet clips, Modality modality, Function<float[], double[]> figures) {
        var rows = new double[clips.size()][];
        for (int i = 0; i < rows.length; i++) {
            try (Tensor clip = clips.batch(modality, new int[] {i})) {
                rows[i] = figures.apply(clip.toFloats());
            }
        }
        return rows;
    }

    /** Of the first hand and the first object of each frame: mean, spread and mean step of place and size, and contact. */
    static double[] boxFigures(float[] boxes) {
        var figures = new ArrayList<Double>();
        for (int kind : new int[] {Boxes.HAND, Boxes.OBJECT}) {
            var tracks = new double[5][16];
            for (int t = 0; t < 16; t++) {
                int found = -1;
                for (int i = Boxes.PER_FRAME - 1; i >= 0; i--) {
                    int o = (t * Boxes.PER_FRAME + i) * Boxes.NUMBERS;
                    found = boxes[o + Boxes.CLASS] == kind ? o : found;
                }
                if (found >= 0) {
                    tracks[0][t] = boxes[found] + boxes[found + 2];
                    tracks[1][t] = boxes[found + 1] + boxes[found + 3];
                    tracks[2][t] = boxes[found + 2] - boxes[found];
                    tracks[3][t] = boxes[found + 3] - boxes[found + 1];
                    tracks[4][t] = boxes[found + Boxes.STATE];
                } else {
                    for (double[] track : tracks) {
                        track[t] = t > 0 ? track[t - 1] : 0;
                    }
                }
            }
            for (double[] track : tracks) {
                add(figures, track);
            }
        }
        return figures.stream().mapToDouble(v -> v).toArray();
    }

    /** Of every second band: mean, spread and mean step over the columns in the middle of the frames' pictures, in order of time. */
    static double[] soundFigures(float[] pictures) {
        var figures = new ArrayList<Double>();
        int size = TINY.size();
        for (int band = 0; band < size; band += 2) {
            // Frames are 2.13 / 16 s apart and show 1.116 s each: every 4 of 32 columns a new stretch.
            var track = new double[16 * 4];
            for (int t = 0; t < 16; t++) {
                for (int k = 0; k < 4; k++) {
                    track[4 * t + k] = pictures[(t * size + band) * size + size / 2 - 2 + k];
                }
            }
            add(figures, track);
        }
        return figures.stream().mapToDouble(v -> v).toArray();
    }

    private static void add(List<Double> figures, double[] track) {
        double mean = Arrays.stream(track).average().orElseThrow();
        double steps = 0;
        for (int t = 1; t < track.length; t++) {
            steps += Math.abs(track[t] - track[t - 1]) / track.length;
        }
        figures.add(mean);
        figures.add(Math.sqrt(
                Arrays.stream(track).map(v -> (v - mean) * (v - mean)).average().orElseThrow()));
        figures.add(steps);
        figures.add(track[track.length - 1] - track[0]);
    }
}
