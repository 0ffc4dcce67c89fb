package tessera.kernels.cuda;

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

    private static final String APART = "apart";
    private static final int KEY_WORDS = 6;

    /**
     * How to compute a product.
     *
     * @param apart whether it is computed without its epilogue, and the rest in a pass of our own
     * @param algorithm of cuBLASLt, or null for what its heuristics choose
     */
    record Choice(boolean apart, byte @Nullable [] algorithm) {
        static final Choice UNKNOWN = new Choice(false, null);
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
        String key = String.join(" ", java.util.Arrays.copyOf(words, KEY_WORDS));
        String choice = words[KEY_WORDS];
        if (choice.equals(APART)) {
            choices.put(key, new Choice(true, null));
        } else if (choice.length() == 2 * CublasLt.ALGO_BYTES && choice.chars().allMatch(HexFormat::isHexDigit)) {
            choices.put(key, new Choice(false, HexFormat.of().parseHex(choice)));
        }
    }

    Choice choice(CudaProduct.Key key) {
        Choice known = choices.get(key.words());
        return known == null ? Choice.UNKNOWN : known;
    }

    /** What the lines for a product on a device begin with. */
    static String begin(CudaDevice device, CudaProduct.Key key) {
        return prefix(device) + key.words() + " ";
    }

    /** A line of the table. */
    static String line(CudaDevice device, CudaProduct.Key key, Choice choice, String remark) {
        byte[] algorithm = choice.algorithm();
        return begin(device, key) + (algorithm == null ? APART : HexFormat.of().formatHex(algorithm)) + " " + remark;
    }

    private static String prefix(CudaDevice device) {
        return device.name().strip().replaceAll("\\s+", "_") + " " + CublasLt.version() + " ";
    }
}
