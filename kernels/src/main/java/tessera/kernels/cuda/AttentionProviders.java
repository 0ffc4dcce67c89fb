package tessera.kernels.cuda;

import java.util.HashMap;
import java.util.List;
import java.util.Locale;
import java.util.Map;
import tessera.kernels.Attention.AttentionShape;
import tessera.natives.cuda.CudaLibraries;

/**
 * Who computes which shape of attention: the table {@value #TABLE}, which the kernel benchmark writes, or the property
 * {@value #PROPERTY} ({@code own}, {@code tall}, {@code wgmma}, {@code cudnn}, or {@code auto} for the table).
 *
 * <p>What was measured on the very card counts most: an H100 and an H200 have the same compute capability and unlike memory. For a card
 * that nobody measured counts what was found on one of its capability.
 */
final class AttentionProviders {
    static final String PROPERTY = "tessera.cuda.attention";

    private static final String TABLE = "attention.providers";
    private static final String CHOICE = System.getProperty(PROPERTY, "auto");
    private static final Map<Line, Provider> TABLED = read(CudaTables.lines(TABLE));

    /** Who computes. */
    enum Provider {
        /** Our own kernels. */
        OWN,
        /** Our own kernels, the forward pass by warps of 32 rows where there is such a kernel. */
        TALL,
        /**
         * Our own kernels, those of a warpgroup also where our usual ones are not: with a bias or regions, and for gradients of head
         * dims over 64. On compute capability 9.0; elsewhere the same as {@link #OWN}.
         */
        WGMMA,
        /** cuDNN, where it is installed. */
        CUDNN;

        /** The provider of a name in the table, of which one that this version does not know means our own. */
        static Provider named(String name) {
            for (Provider provider : values()) {
                if (provider.name().toLowerCase(Locale.ROOT).equals(name)) {
                    return provider;
                }
            }
            return OWN;
        }
    }

    /**
     * What one line of the table is about: in this direction for these lengths and this head dim a provider is fastest.
     *
     * @param place a card by its name, or a compute capability
     * @param biased whether with a bias or regions
     */
    record Line(String place, boolean backward, boolean biased, int queries, int keys, int headDim) {
        private Line at(String other) {
            return new Line(other, backward, biased, queries, keys, headDim);
        }
    }

    /** Who computes a shape: cuDNN only where it is installed. */
    static Provider of(CudaDevice device, boolean backward, AttentionShape shape) {
        boolean biased = shape.biasBatch() > 0 || shape.regionBatch() > 0;
        Line line = new Line(device.card(), backward, biased, shape.queries(), shape.keys(), shape.headDim());
        Provider wanted = wanted(CHOICE, TABLED, line, device.capability());
        return wanted == Provider.CUDNN && !CudaLibraries.cudnn().usable() ? Provider.OWN : wanted;
    }

    /**
     * Who should compute by the property and the table.
     *
     * @param line that of the card
     * @throws IllegalArgumentException for another value of the property than it may have
     */
    static Provider wanted(String choice, Map<Line, Provider> table, Line line, int capability) {
        return switch (choice) {
            case "auto" -> {
                Provider here = table.get(line);
                yield here == null ? table.getOrDefault(line.at("" + capability), Provider.OWN) : here;
            }
            case "own", "tall", "wgmma", "cudnn" -> Provider.named(choice);
            default ->
                throw new IllegalArgumentException(
                        "property " + PROPERTY + " is '" + choice + "'; set it to auto, own, tall, wgmma or cudnn");
        };
    }

    private AttentionProviders() {}

    /** A table from its lines, each of a card and its compute capability; of two for one shape the later counts. */
    static Map<Line, Provider> read(List<String> table) {
        Map<Line, Provider> lines = new HashMap<>();
        for (String line : table) {
            String[] words = line.split("\\s+", -1);
            if (words.length == 7) {
                Line here = new Line(
                        words[0],
                        words[2].endsWith("backward"),
                        words[2].startsWith("biased"),
                        Integer.parseInt(words[3]),
                        Integer.parseInt(words[4]),
                        Integer.parseInt(words[5]));
                lines.put(here, Provider.named(words[6]));
                lines.put(here.at(words[1]), Provider.named(words[6]));
            }
        }
        return lines;
    }
}
