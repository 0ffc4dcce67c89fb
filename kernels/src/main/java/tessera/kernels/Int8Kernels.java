package tessera.kernels;

import org.jspecify.annotations.Nullable;
import tessera.kernels.Matmul.PackedWeight;

/**
 * Linear layers on bytes and the attention between them: layers whose weights are s8 and whose inputs are rounded to u8, for devices that multiply bytes much faster than floats.
 *
 * <p>A weight is {@code q * scale} with q in [-127, 127] and one scale per output channel, see {@link #weightScale}. A row of
 * the input is {@code (u - zero) * scale} with u in [0, {@link #largestInput}]: zero is half of that, rounded up, and the scale such that
 * the row's largest absolute value is the largest u; or, for a weight with an {@link InputRange}, this range decides, beyond which values
 * are cut off. The sums of integer products are exact; what follows them is computed in f32, and biases, addends and results are of the
 * type {@link #data}. So a row of the result depends on nothing but the same row of the input. A row that holds a value which is not finite gives NaN, as does a channel of the weight.
 *
 * <p>The largest u is {@value #LARGEST_INPUT} where the processor adds up products in 32 bits (VNNI, AMX), and
 * {@value #LARGEST_INPUT_IN_PAIRS} where it adds up two of them in 16 bits (AVX2), which saturate beyond: 2 * 128 * 127 does not. So the
 * steps of inputs are twice as large there.
 *
 * <p>The method is that of Jacob et al., "Quantization and training of neural networks for efficient integer-arithmetic-only
 * inference", CVPR 2018, section 2.1, with the scales of inputs dynamic (per row). Thread-safe.
 */
public interface Int8Kernels extends NarrowKernels {
    /** The type of inputs, biases, addends and results: f32 on a CPU, bf16 on a GPU. */
    default DType data() {
        return DType.F32;
    }

    /** Largest quantised weight; the smallest is its negative. */
    int LARGEST_WEIGHT = 127;

    /** Largest quantised input where sums have 32 bits from the start; the smallest is 0. */
    int LARGEST_INPUT = 255;

    /** The byte of the number 0 where a row has its own scale and bytes go up to {@link #LARGEST_INPUT}. */
    int ZERO = 128;

    /** Largest quantised input where sums of two products have 16 bits. */
    int LARGEST_INPUT_IN_PAIRS = 128;

    /**
     * What is added to GELUs before they become bytes between the layers of {@link #mlp}, where the second has no {@link InputRange}: a
     * hidden row is {@code u * scale - GELU_OFFSET}, which wastes no byte on values that GELU does not have.
     */
    float GELU_OFFSET = .17f;

    /** Most inputs a layer may have, so that no sum overflows 32 bits. */
    long MOST_INPUTS = 65_536;

    /** Largest quantised input of these kernels, {@value #LARGEST_INPUT} or {@value #LARGEST_INPUT_IN_PAIRS}. */
    default int largestInput() {
        return LARGEST_INPUT;
    }

    /** The byte of the number 0 where a row has its own scale and bytes go up to the given one. */
    static int zero(int largestInput) {
        return (largestInput + 1) / 2;
    }

    /**
     * Quantises the f32 weight {@code [n, k]} of a linear layer. The result is immutable, usable from many threads, and closed
     * by the caller; only this device's {@link #linear} and {@link #mlp} take it.
     *
     * @param input range of the layer's input, known beforehand; or null to look at every row
     * @throws IllegalArgumentException if k is above {@value #MOST_INPUTS} or the weight is not f32
     */
    PackedWeight pack(Buffer weight, long n, long k, @Nullable InputRange input);

    /**
     * The values that a layer's input has.
     *
     * @param low at most 0
     * @param high at least 0
     */
    record InputRange(float low, float high) {
        public InputRange {
            if (!(low <= 0 && high >= 0 && high - low < Float.POSITIVE_INFINITY)) {
                throw new IllegalArgumentException("the input range is [" + low + ", " + high
                        + "] but must be finite and hold 0; calibrate it again on clips that the model was made for");
            }
        }

        /** The step between two of the bytes up to the largest; for a range without extent 1, to which every value in it is 0. */
        public float scale(int largestInput) {
            float scale = high / largestInput - low / largestInput;
            return scale < Float.MIN_NORMAL ? 1 : scale;
        }

        /** The byte of the number 0. */
        public int zero(int largestInput) {
            return (int) Math.rint(-low / scale(largestInput));
        }
    }

    /**
     * The scale of a channel whose largest absolute weight is given: a 127th of it, rounded up to 16 significant bits. So
     * {@code q * scale} is exact in f32 for every q, and quantising such products again gives the same q and scale.
     */
    static float weightScale(float largest) {
        float scale = largest / LARGEST_WEIGHT;
        if (!(scale < Float.MAX_VALUE / 2)) {
            return Float.NaN;
        }
        if (scale < Float.MIN_NORMAL) {
            return 0;
        }
        int bits = Float.floatToRawIntBits(scale);
        float rounded = Float.intBitsToFloat((bits + 0xFF) & ~0xFF);
        // A scale that was exact comes back as it was although the division rounded.
        float below = Float.intBitsToFloat(bits & ~0xFF);
        return below * LARGEST_WEIGHT >= largest ? below : rounded;
    }
}
