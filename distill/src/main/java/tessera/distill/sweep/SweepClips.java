package tessera.distill.sweep;

import java.util.function.Function;
import java.util.stream.IntStream;
import tessera.tensor.Tensor;

/**
 * Clips to look at.
 *
 * @param count how many there are, 1 or more
 * @param source gives some by their numbers, u8 or f32 {@code [B, T, H, W, C]} of the students' sizes; of the innermost open scope
 */
public record SweepClips(int count, Function<int[], Tensor> source) {
    /** Some that stand one after the other. */
    Tensor batch(int from, int size) {
        return source.apply(IntStream.range(from, from + size).toArray());
    }

    /** As many as are wanted, from the first on, which come again if there are fewer. */
    Tensor cycled(int wanted) {
        return source.apply(IntStream.range(0, wanted).map(i -> i % count).toArray());
    }
}
