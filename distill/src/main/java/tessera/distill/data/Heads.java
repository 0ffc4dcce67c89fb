package tessera.distill.data;

import java.nio.charset.StandardCharsets;
import java.util.ArrayList;
import java.util.LinkedHashMap;
import java.util.List;
import java.util.Map;
import java.util.TreeMap;
import java.util.TreeSet;
import java.util.zip.Checksum;

/** Names of a set's classes, and what each of these is for every head. Immutable. */
final class Heads {
    private final Map<String, Labels> byName = new LinkedHashMap<>();

    /** Names of a head's classes, and which of them each class of the clips is. */
    private record Labels(List<String> classes, int[] ofClass) {}

    /**
     * Checks a table.
     *
     * @param further value of each class, by the name of the head; a head's classes are its values, sorted
     */
    Heads(List<String> classes, Map<String, List<String>> further) {
        int[] own = new int[classes.size()];
        for (int i = 0; i < own.length; i++) {
            own[i] = i;
        }
        byName.put(ClipSet.ACTION, new Labels(List.copyOf(classes), own));
        new TreeMap<>(further).forEach((name, values) -> {
            if (name.equals(ClipSet.ACTION)) {
                throw new IllegalArgumentException(
                        "a further head is called '" + name + "', as the head of the classes is; call it otherwise");
            }
            if (values.size() != classes.size()) {
                throw new IllegalArgumentException("the head '" + name + "' has " + values.size() + " values for "
                        + classes.size() + " classes; pass one for each class");
            }
            List<String> sorted = new ArrayList<>(new TreeSet<>(values));
            byName.put(
                    name,
                    new Labels(sorted, values.stream().mapToInt(sorted::indexOf).toArray()));
        });
    }

    List<String> names() {
        return List.copyOf(byName.keySet());
    }

    List<String> classes(String head) {
        return require(head).classes;
    }

    /** Which of a head's classes each class of the clips is. */
    int[] ofClass(String head) {
        return require(head).ofClass;
    }

    private Labels require(String head) {
        Labels labels = byName.get(head);
        if (labels == null) {
            throw new IllegalArgumentException("the clips have no labels for the head '" + head + "', only for "
                    + byName.keySet() + "; name one of these, or give clips of your own a labels.csv with it");
        }
        return labels;
    }

    /** Sets with further heads differ where these do; those without are what they were before there were heads. */
    void addTo(Checksum checksum) {
        byName.forEach((name, labels) -> {
            if (!name.equals(ClipSet.ACTION)) {
                byte[] text = (name + labels.classes).getBytes(StandardCharsets.UTF_8);
                checksum.update(text, 0, text.length);
                for (int label : labels.ofClass) {
                    update(checksum, label);
                }
            }
        });
    }

    /** All four bytes of a label. */
    static void update(Checksum checksum, int label) {
        for (int shift = 0; shift < Integer.SIZE; shift += Byte.SIZE) {
            checksum.update(label >>> shift & 0xFF);
        }
    }
}
