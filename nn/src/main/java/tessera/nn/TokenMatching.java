package tessera.nn;

import java.util.Arrays;
import tessera.kernels.DType;
import tessera.tensor.Tensor;

/**
 * Bipartite soft matching (Bolya et al., "Token merging", ICLR 2023, section 3). Tokens in even places are matched with those in odd ones
 * by the cosine of their keys: each has the odd one that it resembles most, and the pairs that are most alike are merged. Of equal
 * cosines the first place counts, so equal keys give equal matches on every device.
 */
final class TokenMatching {
    private TokenMatching() {}

    /**
     * Where tokens go that are merged in pairs. What is left keeps its order; a merged token goes to the place of its odd partner.
     *
     * @param keys {@code [B, N, K]}
     * @param away tokens of each sample that are merged away, at most {@code N / 2}
     * @return for each token of each sample its place, below {@code N - away}
     */
    static int[] places(Tensor keys, int away) {
        int batch = Math.toIntExact(keys.size(0));
        int n = Math.toIntExact(keys.size(1));
        Tensor wide = keys.to(DType.F32);
        Tensor even = wide.gatherRows(everySecond(wide, 0)); // [B, ceil(N / 2), K]
        Tensor odd = wide.gatherRows(everySecond(wide, 1)); // [B, floor(N / 2), K]
        float[] products = even.matmul(odd.transpose(1, 2)).toFloats();
        float[] scales = inverseNorms(wide.toFloats(), Math.toIntExact(wide.size(2)));
        int[] places = new int[batch * n];
        for (int b = 0; b < batch; b++) {
            match(products, b * ((n + 1) / 2) * (n / 2), scales, b * n, n, away, places);
        }
        return places;
    }

    private static Tensor everySecond(Tensor keys, int first) {
        int batch = Math.toIntExact(keys.size(0));
        int count = Math.toIntExact((keys.size(1) + 1 - first) / 2);
        int[] indices = new int[batch * count];
        Arrays.setAll(indices, i -> 2 * (i % count) + first);
        Tensor tensor = Tensor.of(indices, batch, count);
        return keys.device().isHost() ? tensor : tensor.to(keys.device());
    }

    /** One over the norm of each row; 0 for a row without one, which resembles nothing. */
    private static float[] inverseNorms(float[] rows, int width) {
        float[] scales = new float[width == 0 ? 0 : rows.length / width];
        for (int i = 0; i < scales.length; i++) {
            double squares = 0;
            for (int j = i * width; j < (i + 1) * width; j++) {
                squares += (double) rows[j] * rows[j];
            }
            scales[i] = squares > 0 && squares < Double.POSITIVE_INFINITY ? (float) (1 / Math.sqrt(squares)) : 0;
        }
        return scales;
    }

    /**
     * Matches one sample.
     *
     * @param products of even and odd keys, from {@code at} on
     * @param scales one over the norm of each key, from {@code first} on
     * @param places written from {@code first} on
     */
    private static void match(float[] products, int at, float[] scales, int first, int n, int away, int[] places) {
        int evens = (n + 1) / 2;
        int odds = n / 2;
        int[] partner = new int[evens];
        long[] order = new long[evens]; // best cosines first, then first places
        for (int i = 0; i < evens; i++) {
            float best = Float.NEGATIVE_INFINITY;
            int from = at + i * odds;
            for (int j = 0; j < odds; j++) {
                float cosine = products[from + j] * scales[first + 2 * j + 1];
                if (cosine > best) {
                    best = cosine;
                    partner[i] = j;
                }
            }
            float cosine = best == Float.NEGATIVE_INFINITY ? best : best * scales[first + 2 * i];
            order[i] = ((long) ~ascending(cosine) << Integer.SIZE) | i;
        }
        Arrays.sort(order);
        boolean[] merged = new boolean[evens];
        for (int i = 0; i < away; i++) {
            merged[(int) order[i]] = true;
        }
        int next = 0;
        for (int token = 0; token < n; token++) {
            if (token % 2 == 1 || !merged[token / 2]) {
                places[first + token] = next++;
            }
        }
        for (int i = 0; i < evens; i++) {
            if (merged[i]) {
                places[first + 2 * i] = places[first + 2 * partner[i] + 1];
            }
        }
    }

    /** An integer that is the greater the greater the number is; 0 and -0 are equal. */
    private static int ascending(float value) {
        int bits = Float.floatToIntBits(value + 0f);
        return bits ^ ((bits >> (Integer.SIZE - 1)) & Integer.MAX_VALUE);
    }
}
