package tessera.kernels.cuda;

import java.util.Arrays;
import java.util.HashMap;
import java.util.HexFormat;
import java.util.Map;
import org.jspecify.annotations.Nullable;
import tessera.natives.cuda.CublasLt;

/**
 * How each product was computed fastest on a device, as {@link CudaTuning} measured it: the table {@value #FILE}, whose lines hold the
 * card, the version of cuBLASLt, the words of {@link CudaProduct.Key}, the choice and remarks. An algorithm is known by 64 bytes
 * that mean something to the same version of the library only. Immutable.
 */
final class CudaProductTable {
    static final String FILE = "products.table";

    private static final String APARTLY = "apart";
    private static final String BY_LIBRARY = "library";
    private static final String OWN = "own:";
    private static final int KEY_WORDS = 6;

    /**
     * How to compute a product.
     *
     * @param known whether the table says anything of it
     * @param apart whether the library computes it without its epilogue, and a pass of ours the rest
     * @param algorithm of cuBLASLt, or null for what its heuristics choose
     * @param own the variant of {@link CudaHopperProducts}, or null for the library
     */
    record Choice(
            boolean known,
            boolean apart,
            byte @Nullable [] algorithm,
            @Nullable String own) {
        static final Choice UNKNOWN = new Choice(false, false, null, null);
        static final Choice APART = new Choice(true, true, null, null);
        static final Choice LIBRARY = new Choice(true, false, null, null);

        static Choice algorithm(byte[] algorithm) {
            return new Choice(true, false, algorithm, null);
        }

        static Choice own(String variant) {
            return new Choice(true, false, null, variant);
        }

        /** As a word of the table. */
        String word() {
            return own != null
                    ? OWN + own
                    : algorithm != null ? HexFormat.of().formatHex(algorithm) : apart ? APARTLY : BY_LIBRARY;
        }
    }

    private final Map<String, Choice> choices = new HashMap<>();

    private CudaProductTable() {}

    /** The lines that hold for a device and the library at hand. */
    static CudaProductTable read(CudaDevice device) {
        CudaProductTable table = new CudaProductTable();
        String prefix = prefix(device);
        for (String line : CudaTables.lines(FILE)) {
            if (line.startsWith(prefix)) {
                table.add(line.substring(prefix.length()));
            }
        }
        return table;
    }

    private void add(String line) {
        String[] words = line.split("\\s+", -1);
        if (words.length <= KEY_WORDS) {
            return;
        }
        String key = String.join(" ", Arrays.copyOf(words, KEY_WORDS));
        String choice = words[KEY_WORDS];
        if (choice.equals(APARTLY)) {
            choices.put(key, Choice.APART);
        } else if (choice.equals(BY_LIBRARY)) {
            choices.put(key, Choice.LIBRARY);
        } else if (choice.startsWith(OWN)) {
            choices.put(key, Choice.own(choice.substring(OWN.length())));
        } else if (choice.length() == 2 * CublasLt.ALGO_BYTES && choice.chars().allMatch(HexFormat::isHexDigit)) {
            choices.put(key, Choice.algorithm(HexFormat.of().parseHex(choice)));
        }
    }

    Choice choice(CudaProduct.Key key) {
        Choice known = choices.get(key.words());
        return known == null ? Choice.UNKNOWN : known;
    }

    /** Whether a kernel of ours is the fastest for any layer with the norm before it. */
    boolean ownsNorms() {
        return choices.entrySet().stream()
                .anyMatch(line -> line.getKey().contains(CudaProduct.NORM)
                        && line.getValue().own() != null);
    }

    /** What the lines for a product on a device begin with. */
    static String begin(CudaDevice device, CudaProduct.Key key) {
        return prefix(device) + key.words() + " ";
    }

    /** A line of the table. */
    static String line(CudaDevice device, CudaProduct.Key key, Choice choice, String remark) {
        return begin(device, key) + choice.word() + " " + remark;
    }

    private static String prefix(CudaDevice device) {
        return device.card() + " " + CublasLt.version() + " ";
    }
}
