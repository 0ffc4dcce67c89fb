package tessera.distill.evaluation;

import java.io.IOException;
import java.nio.file.Files;
import java.nio.file.Path;
import java.util.LinkedHashSet;
import java.util.List;
import java.util.Set;
import java.util.stream.IntStream;
import tessera.distill.data.HeadLabels;

/**
 * The rare classes of a training set: the smallest classes whose clips make up a fifth of it (Damen et al., "Rescaling Egocentric
 * Vision", IJCV 2022, for EPIC-KITCHENS-100, where 86 verbs and 228 nouns are in the tail). The paper does not say on which side of
 * the fifth the last class falls; here the tail holds at most that share.
 */
public final class TailClasses {
    /** The published share of the training clips. */
    public static final double SHARE = .2;

    private TailClasses() {}

    /**
     * Reads a list of tail classes, one name a line, such as the benchmark publishes. A first line that is the head's name is a
     * heading.
     *
     * @param head the classes' head
     * @param known names of the head's classes
     * @throws IllegalArgumentException if the file cannot be read or names a class that the head does not know
     */
    public static Set<String> read(Path file, String head, List<String> known) {
        List<String> lines;
        try {
            lines = Files.readAllLines(file);
        } catch (IOException e) {
            throw new IllegalArgumentException(
                    file + " cannot be read (" + e.getMessage() + "); give a text file with one class a line", e);
        }
        Set<String> tail = new LinkedHashSet<>();
        for (int i = 0; i < lines.size(); i++) {
            String name = lines.get(i).strip();
            if (name.isEmpty() || (i == 0 && name.equals(head))) {
                continue;
            }
            if (!known.contains(name)) {
                throw new IllegalArgumentException(file + " line " + (i + 1) + ": the head '" + head + "' knows no '"
                        + name + "'; give names of its classes, one a line");
            }
            tail.add(name);
        }
        return tail;
    }

    /**
     * With the published share, the classes found by their names.
     *
     * @param classes names of a head's classes
     * @param training labels of the training clips for the same head
     * @throws IllegalArgumentException if a training clip's class is none of the head's
     */
    public static Set<String> of(List<String> classes, HeadLabels training) {
        return of(
                classes,
                IntStream.of(training.ofClip())
                        .map(label -> {
                            String name = training.classes().get(label);
                            int known = classes.indexOf(name);
                            if (known < 0) {
                                throw new IllegalArgumentException(
                                        "tail classes: a training clip is of the class '" + name
                                                + "', which the head does not know; pass the clips that it was trained on");
                            }
                            return known;
                        })
                        .toArray());
    }

    /** With the published share; see {@link #of(List, int[], double)}. */
    public static Set<String> of(List<String> classes, int[] trainingLabels) {
        return of(classes, trainingLabels, SHARE);
    }

    /**
     * The largest set of the smallest classes that together hold at most a share of the training clips. Classes without clips are in
     * it; of equally small classes the first come first.
     *
     * @param classes names of the classes
     * @param trainingLabels class of each training clip, a place in {@code classes}
     * @param share in [0, 1]
     * @throws IllegalArgumentException if the share is out of its range
     */
    public static Set<String> of(List<String> classes, int[] trainingLabels, double share) {
        if (!(share >= 0 && share <= 1)) {
            throw new IllegalArgumentException("tail classes: the share is " + share + "; pass one in [0, 1]");
        }
        int[] counts = new int[classes.size()];
        for (int label : trainingLabels) {
            counts[label]++;
        }
        List<Integer> smallestFirst = IntStream.range(0, counts.length)
                .boxed()
                .sorted((a, b) -> Integer.compare(counts[a], counts[b]))
                .toList();
        Set<String> tail = new LinkedHashSet<>();
        int held = 0;
        for (int c : smallestFirst) {
            held += counts[c];
            if (held > share * trainingLabels.length) {
                break;
            }
            tail.add(classes.get(c));
        }
        return tail;
    }
}
