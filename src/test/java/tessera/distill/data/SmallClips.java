package tessera.distill.data;

import java.lang.foreign.MemorySegment;
import java.util.HashMap;
import java.util.List;
import java.util.Map;
import java.util.Set;
import java.util.function.IntPredicate;
import java.util.random.RandomGenerator;
import java.util.random.RandomGeneratorFactory;

/** Small sets of made-up clips, equal for equal arguments. */
final class SmallClips {
    static final List<String> CLASSES = List.of("open door", "open box", "cut bread");
    static final Map<String, List<String>> HEADS =
            Map.of("verb", List.of("open", "open", "cut"), "noun", List.of("door", "box", "bread"));

    private SmallClips() {}

    /** Two clips of each class, of every modality; those of one are in the range of its layout. */
    static ClipSet make(Geometry geometry, Map<String, List<String>> heads, IntPredicate wanted) {
        return ClipSet.load(
                geometry,
                CLASSES,
                heads,
                new int[] {0, 1, 2, 0, 1, 2},
                Modality.KNOWN,
                i -> wanted.test(i) ? clip(geometry, Modality.KNOWN, i) : null,
                done -> {});
    }

    static Map<Modality, MemorySegment> clip(Geometry geometry, Set<Modality> modalities, int number) {
        Map<Modality, MemorySegment> clip = new HashMap<>();
        for (Modality modality : modalities) {
            int length = (int) geometry.length(modality);
            RandomGenerator random = RandomGeneratorFactory.of("L64X128MixRandom")
                    .create(100L * number + modality.id().length());
            if (modality.layout().values() == SampleLayout.Values.BYTE) {
                byte[] bytes = new byte[length];
                random.nextBytes(bytes);
                clip.put(modality, MemorySegment.ofArray(bytes));
            } else {
                clip.put(modality, MemorySegment.ofArray(floats(modality, length, random)));
            }
        }
        return clip;
    }

    private static float[] floats(Modality modality, int length, RandomGenerator random) {
        float[] values = new float[length];
        for (int i = 0; i < length; i++) {
            values[i] = random.nextInt(256) / (modality.equals(Modality.POSE) ? 255f : 1);
        }
        if (modality.equals(Modality.BOXES)) {
            for (int at = 0; at < length; at += Boxes.NUMBERS) {
                boolean found = at / Boxes.NUMBERS % Boxes.PER_FRAME < 3;
                Boxes.pad(values, at);
                if (found) {
                    float[] box = {.1f, .2f, .1f + random.nextFloat() / 2, .9f, random.nextFloat(), 2, 1 + at / 8 % 2, 3
                    };
                    System.arraycopy(box, 0, values, at, box.length);
                }
            }
        }
        return values;
    }
}
