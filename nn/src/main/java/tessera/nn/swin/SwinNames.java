package tessera.nn.swin;

import java.lang.foreign.MemorySegment;
import java.lang.foreign.ValueLayout;
import java.nio.ByteOrder;
import java.nio.file.Path;
import java.util.ArrayList;
import java.util.LinkedHashMap;
import java.util.List;
import java.util.Locale;
import java.util.Map;
import java.util.Optional;
import java.util.Set;
import java.util.regex.Matcher;
import java.util.regex.Pattern;
import org.jspecify.annotations.Nullable;
import tessera.kernels.Device;
import tessera.nn.CheckpointException;
import tessera.nn.TokenGrid;
import tessera.nn.WeightNames;
import tessera.tensor.Patches;
import tessera.tensor.Scope;
import tessera.tensor.Tensor;
import tessera.tensor.io.ArrayData;
import tessera.tensor.io.Safetensors;
import tessera.tensor.io.StoredType;

/**
 * Names of public Swin3D checkpoints. Tessera's are torchvision's; the original code's ({@code backbone.layers.0.blocks.1.*}, {@code classifiers.VERB.*}), several heads in
 * the place of torchvision's one ({@code head.verb.*}, {@code head_verb.*}), and what training frameworks ({@code module.}, {@code _orig_mod.}) or whatever else holds the model put before either, are translated.
 */
public final class SwinNames {
    private static final Pattern BLOCK = Pattern.compile("layers\\.(\\d+)\\.blocks\\.(\\d+)\\.(.*)");
    private static final Pattern MERGING = Pattern.compile("layers\\.(\\d+)\\.downsample\\.(.*)");
    private static final Pattern HEAD = Pattern.compile("(?:cls_head\\.fc_cls|heads\\.[^.]+)\\.(weight|bias)");
    /** One of several heads, as the authors of multimodal distillation have them, or as torchvision's model gets them. */
    private static final Pattern TASK = Pattern.compile("(?:classifiers\\.|head\\.|head_)([A-Za-z]+)\\.(weight|bias)");

    private static final String TABLE = ".relative_position_bias_table";
    private static final String INDEX = ".relative_position_index";
    private static final String PATCH_WEIGHT = "patch_embed.proj.weight";
    private static final TokenGrid PUBLISHED_WINDOW = new TokenGrid(8, 7, 7);

    private SwinNames() {}

    /** Whether weights of these names, of any origin, are a Swin's. */
    public static boolean matches(Set<String> names) {
        return names.stream().anyMatch(name -> name.endsWith(TABLE));
    }

    /**
     * A checkpoint under Tessera's names, without the matrices of relative positions, which follow from the window. The tensors are
     * the same ones.
     *
     * @throws CheckpointException if the file holds several models, or two weights of one name
     */
    public static Map<String, Tensor> translate(Map<String, Tensor> checkpoint) {
        Map<String, Tensor> named = WeightNames.renamed(checkpoint, WeightNames::unwrapped);
        String prefix = WeightNames.prefix(named.keySet(), SwinNames::before);
        Map<String, Tensor> weights = new LinkedHashMap<>(named);
        weights.keySet().removeIf(name -> name.endsWith(INDEX));
        return WeightNames.renamed(
                weights, name -> translate(name.startsWith(prefix) ? name.substring(prefix.length()) : name));
    }

    /** What stands before the patch embedding: the original code's {@code backbone.}, or whatever else holds the model. */
    private static Optional<String> before(String name) {
        String prefix = name.endsWith(PATCH_WEIGHT) ? name.substring(0, name.length() - PATCH_WEIGHT.length()) : null;
        return Optional.ofNullable(prefix).filter(each -> each.isEmpty() || each.endsWith("."));
    }

    private static String translate(String name) {
        Matcher block = BLOCK.matcher(name);
        if (block.matches()) {
            String rest =
                    block.group(3).replaceFirst("^mlp\\.fc1\\.", "mlp.0.").replaceFirst("^mlp\\.fc2\\.", "mlp.3.");
            return "features." + 2 * Integer.parseInt(block.group(1)) + "." + block.group(2) + "." + rest;
        }
        Matcher merging = MERGING.matcher(name);
        if (merging.matches()) {
            return "features." + (2 * Integer.parseInt(merging.group(1)) + 1) + "." + merging.group(2);
        }
        Matcher task = TASK.matcher(name);
        if (task.matches()) {
            return "heads." + task.group(1).toLowerCase(Locale.ROOT) + "." + task.group(2);
        }
        return name.replaceFirst("^cls_head\\.fc_cls\\.", "head.");
    }

    /**
     * The sizes that a checkpoint's weights tell.
     *
     * @param checkpoint under its own names, not translated, with the matrices of relative positions
     * @param input normalisation of the input, whose patch sizes do not count
     * @throws CheckpointException if the weights are no Swin's
     */
    public static SwinConfig config(
            Map<String, Tensor> checkpoint, Patches input, int frames, int height, int width, double layerNormEps) {
        Map<String, Tensor> weights = translate(checkpoint);
        Tensor embedding = weights.get(PATCH_WEIGHT);
        if (embedding == null || embedding.rank() != 5 || embedding.shape().count() == 0) {
            throw new CheckpointException("there is no patch embedding " + PATCH_WEIGHT
                    + " [width, channels, tubelet, patch, patch] under any known name; pass a Swin3D checkpoint");
        }
        List<Integer> depths = new ArrayList<>();
        List<Integer> heads = new ArrayList<>();
        for (Tensor table = table(weights, 0, 0); table != null; table = table(weights, depths.size(), 0)) {
            int depth = 1;
            while (table(weights, depths.size(), depth) != null) {
                depth++;
            }
            depths.add(depth);
            heads.add(Math.toIntExact(table.size(-1)));
        }
        return new SwinConfig(
                new Patches(
                        input.channels(),
                        Math.toIntExact(embedding.size(2)),
                        Math.toIntExact(embedding.size(3)),
                        input.scale(),
                        input.mean(),
                        input.std()),
                frames,
                height,
                width,
                Math.toIntExact(embedding.size(0)),
                depths,
                heads,
                window(checkpoint, weights),
                layerNormEps);
    }

    private static @Nullable Tensor table(Map<String, Tensor> weights, int stage, int block) {
        return weights.get("features." + 2 * stage + "." + block + ".attn" + TABLE);
    }

    /** By the first row of a matrix of relative positions, which falls by one along a row of the window, by more to the next. */
    private static TokenGrid window(Map<String, Tensor> checkpoint, Map<String, Tensor> weights) {
        for (Map.Entry<String, Tensor> entry : checkpoint.entrySet()) {
            Tensor matrix = entry.getValue();
            if (entry.getKey().endsWith(INDEX)
                    && matrix.rank() == 2
                    && matrix.shape().count() > 0) {
                int[] row = matrix.slice(0, 0, 1).contiguous().toInts();
                int columns = run(row, 1, 1);
                int rows = run(row, columns, 2 * columns - 1);
                return new TokenGrid(row.length / (rows * columns), rows, columns);
            }
        }
        Tensor table = table(weights, 0, 0);
        if (table != null && table.size(0) == Windows.relativePositions(PUBLISHED_WINDOW)) {
            return PUBLISHED_WINDOW;
        }
        throw new CheckpointException("the window cannot be told: its table has "
                + (table == null ? 0 : table.size(0)) + " relative positions, the published window's "
                + Windows.relativePositions(PUBLISHED_WINDOW)
                + ", and there is no relative_position_index; pass a checkpoint with these matrices");
    }

    private static int run(int[] row, int step, int fall) {
        int length = 1;
        while (length * step < row.length && row[0] - row[length * step] == length * fall) {
            length++;
        }
        return length;
    }

    /**
     * Writes weights so that torchvision's {@code SwinTransformer3d} loads them strictly: its names, with the matrices of relative
     * positions and, if there is one head, that head as {@code head}.
     *
     * @param weights under any known names
     * @throws IllegalArgumentException if there are several heads, of which torchvision's model has one
     */
    public static void writeForTorchvision(Path file, Map<String, Tensor> weights, SwinConfig config) {
        Map<String, Tensor> named = new LinkedHashMap<>();
        translate(weights).forEach((name, tensor) -> {
            Matcher head = HEAD.matcher(name);
            String target = head.matches() ? "head." + head.group(1) : name;
            if (named.put(target, tensor) != null) {
                throw new IllegalArgumentException(
                        "torchvision's Swin3D has one head but the checkpoint has several; keep one of them");
            }
        });
        int tokens = config.window().tokens();
        int[] index = Windows.relativeIndex(config.window(), tokens);
        byte[] bytes = new byte[index.length * Long.BYTES];
        MemorySegment longs = MemorySegment.ofArray(bytes);
        for (int i = 0; i < index.length; i++) {
            longs.set(
                    ValueLayout.JAVA_LONG_UNALIGNED.withOrder(ByteOrder.LITTLE_ENDIAN),
                    (long) i * Long.BYTES,
                    index[i]);
        }
        try (Scope scope = Scope.open()) {
            List<ArrayData> arrays = new ArrayList<>();
            named.forEach((name, tensor) -> {
                Tensor host = tensor.detach().contiguous().to(Device.cpu());
                arrays.add(new ArrayData(
                        name, StoredType.of(host.dtype()), host.shape().toArray(), host.segment()));
                if (name.endsWith(TABLE)) {
                    String matrix = name.substring(0, name.length() - TABLE.length()) + INDEX;
                    arrays.add(new ArrayData(matrix, StoredType.I64, new long[] {tokens, tokens}, longs));
                }
            });
            Safetensors.write(file, arrays, config.toMetadata());
        }
    }
}
