package tessera.kernels.cuda;

import java.util.HashSet;
import java.util.Set;
import tessera.kernels.Attention.AttentionShape;
import tessera.natives.cuda.CudaLibraries;

/**
 * Who computes which shape of attention: the table {@value #TABLE}, which the kernel benchmark writes, or the property
 * {@value #PROPERTY} ({@code own}, {@code cudnn}, or {@code auto} for the table).
 */
final class AttentionProviders {
    static final String PROPERTY = "tessera.cuda.attention";

    private static final String TABLE = "attention.providers";
    private static final String CHOICE = System.getProperty(PROPERTY, "auto");
    private static final Set<Line> CUDNN = read();

    /** One line of the table: cuDNN is faster in this direction for these lengths and this head dim. */
    private record Line(int capability, boolean backward, int queries, int keys, int headDim) {}

    static boolean prefersCudnn(int capability, boolean backward, AttentionShape shape) {
        return switch (CHOICE) {
            case "auto" ->
                !CUDNN.isEmpty()
                        && CUDNN.contains(
                                new Line(capability, backward, shape.queries(), shape.keys(), shape.headDim()))
                        && CudaLibraries.cudnn().usable();
            case "cudnn" -> CudaLibraries.cudnn().usable();
            case "own" -> false;
            default ->
                throw new IllegalArgumentException(
                        "property " + PROPERTY + " is '" + CHOICE + "'; set it to auto, own or cudnn");
        };
    }

    private AttentionProviders() {}

    private static Set<Line> read() {
        Set<Line> lines = new HashSet<>();
        for (String line : CudaTables.lines(TABLE)) {
            String[] words = line.split("\\s+", -1);
            if (words.length == 6 && words[5].equals("cudnn")) {
                lines.add(new Line(
                        Integer.parseInt(words[0]),
                        words[1].equals("backward"),
                        Integer.parseInt(words[2]),
                        Integer.parseInt(words[3]),
                        Integer.parseInt(words[4])));
            }
        }
        return lines;
    }
}
