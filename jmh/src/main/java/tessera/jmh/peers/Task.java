package tessera.jmh.peers;

import java.io.IOException;
import java.nio.file.Files;
import java.nio.file.Path;
import java.util.Arrays;
import java.util.LinkedHashMap;
import java.util.Map;
import java.util.TreeMap;
import tessera.jmh.Models;
import tessera.kernels.DType;
import tessera.kernels.Device;
import tessera.nn.Checkpoint;
import tessera.nn.MaskContext;
import tessera.nn.Params;
import tessera.nn.inference.Masking;
import tessera.nn.swin.SwinModel;
import tessera.nn.swin.SwinNames;
import tessera.nn.videomae.VideoMaeClassifier;
import tessera.nn.videomae.VideoMaeConfig;
import tessera.tensor.Shape;
import tessera.tensor.Tensor;

/**
 * A {@link Work} with the weights and inputs that all contenders get, in memory and as safetensors files. Its tensors lie in host
 * memory and belong to it; contenders only read them.
 *
 * @param work what is carried out
 * @param shapes its sizes
 * @param weights the model's, f32, under Tessera's names; of training with {@code head.weight} and {@code head.bias}
 * @param weightsFile the same
 * @param inputs {@code x} f32 (of a product also {@code w}), or {@code clip} u8 {@code [B, T, H, W, C]} with, where tokens are hidden, {@code
 *     visible} i32 {@code [P * B, tokens]}, and of training {@code labels} i32
 * @param inputsFile the same
 * @param folder for files of contenders
 */
public record Task(
        Work work,
        Shapes shapes,
        Map<String, Tensor> weights,
        Path weightsFile,
        Map<String, Tensor> inputs,
        Path inputsFile,
        Path folder)
        implements AutoCloseable {
    /** What masks are drawn with. */
    public static final long SEED = 5;
    /** Steps whose losses are compared. */
    public static final int STEPS = 3;
    /** Learning rate of training. */
    public static final double RATE = 1e-4;
    /** Weight decay of its matrices. */
    public static final double DECAY = .05;

    /** Teachers that are distilled at once. */
    public static final int TEACHERS = 3;
    /** What softens logits that are distilled. */
    public static final double TEMPERATURE = 2;
    /** What divergence and labels weigh beside one another. */
    public static final double LABELS = .5;
    /** Added to the deviation of a patch that is reconstructed. */
    public static final double PATCH_EPS = 1e-6;
    /** Steps that AdamW is taken to have done, so that its corrections for the first ones are seen. */
    public static final int EARLIER_STEPS = 3;
    /** Its second moments after them; the first are 0. */
    public static final double EARLIER_SQUARES = 1e-3;

    private static final int SWIN_CLASSES = 400;

    /** Makes weights and inputs from fixed seeds. */
    static Task make(Work work, Shapes shapes, Path folder) {
        Map<String, Tensor> weights = switch (work.kind()) {
            case MATMUL,
                    COPY,
                    SOFTMAX,
                    PATCHES,
                    GELU_GRADIENT,
                    ATTENTION_GRADIENTS,
                    CROSS_ENTROPY,
                    FEATURE_DISTILLATION,
                    LOGIT_DISTILLATION,
                    RECONSTRUCTION,
                    ADAMW -> Map.of();
            case SWIN -> swin();
            default -> student(work, shapes);
        };
        Map<String, Tensor> inputs = inputs(work, shapes);
        Path weightsFile = folder.resolve("weights." + work.kind().text());
        Path inputsFile = folder.resolve("inputs." + work.kind().text());
        if (work.kind() == Kind.SWIN) {
            SwinNames.writeForTorchvision(weightsFile, weights, Models.swin());
        } else {
            Checkpoint.write(weightsFile, weights, Map.of());
        }
        Checkpoint.write(inputsFile, inputs, Map.of());
        return new Task(work, shapes, weights, weightsFile, inputs, inputsFile, folder);
    }

    private static Map<String, Tensor> swin() {
        Params params = Params.random(Device.cpu(), DType.F32, 1);
        new SwinModel(params, Models.swin(), SWIN_CLASSES).close();
        return shaken(params);
    }

    private static Map<String, Tensor> student(Work work, Shapes shapes) {
        Params params = Params.random(Device.cpu(), DType.F32, 1);
        int classes = work.kind() == Kind.TRAIN ? shapes.classes() : 0;
        new VideoMaeClassifier(params, shapes.config(), classes).close();
        return shaken(params);
    }

    /** Biases that are all 0 and gains that are all 1 would hide it if a contender left them out. */
    private static Map<String, Tensor> shaken(Params params) {
        Map<String, Tensor> weights = new TreeMap<>(params.all());
        long stream = 0;
        for (Map.Entry<String, Tensor> entry : weights.entrySet()) {
            Tensor weight = entry.getValue().requiresGrad(false);
            if (weight.rank() == 1) {
                double mean = entry.getKey().contains("norm") && entry.getKey().endsWith("weight") ? 1 : 0;
                try (Tensor noise = Tensor.normal(Device.cpu(), DType.F32, weight.shape(), 2, stream++, mean, .1)) {
                    weight.copyFrom(noise);
                }
            }
        }
        return weights;
    }

    private static Map<String, Tensor> inputs(Work work, Shapes shapes) {
        Map<String, Tensor> inputs = new LinkedHashMap<>();
        long rows = work.sequences();
        long tokens = work.tokens(shapes.config());
        long width = shapes.config().embedDim();
        switch (work.kind()) {
            case MATMUL -> {
                Shapes.Product product = shapes.product();
                inputs.put("x", normal(Shape.of(product.rows(), product.inner()), 1));
                inputs.put("w", normal(Shape.of(product.columns(), product.inner()), 2));
            }
            case COPY -> inputs.put("x", normal(Shape.of(shapes.copyBytes() / Float.BYTES), 1));
            case LAYER_NORM, LINEAR, LINEAR_GELU, BLOCK -> normals(inputs, Shape.of(rows, tokens, width), "x");
            case ATTENTION -> normals(inputs, Shape.of(rows, tokens, 3 * width), "x");
            case SOFTMAX -> normals(inputs, Shape.of(rows, shapes.config().heads(), tokens, tokens), "x");
            case LAYER_NORM_GRADIENTS -> normals(inputs, Shape.of(rows, tokens, width), "x", "dy");
            case LINEAR_INPUT_GRADIENT, LINEAR_WEIGHT_GRADIENT -> {
                normals(inputs, Shape.of(rows, tokens, width), "x");
                normals(inputs, Shape.of(rows, tokens, 3 * width), "dy");
            }
            case GELU_GRADIENT -> normals(inputs, Shape.of(rows, tokens, 4 * width), "x", "dy");
            case ATTENTION_GRADIENTS -> {
                normals(inputs, Shape.of(rows, tokens, 3 * width), "x");
                normals(inputs, Shape.of(rows, tokens, width), "dy");
            }
            case CROSS_ENTROPY -> {
                normals(inputs, Shape.of(rows * tokens, width), "x");
                inputs.put("labels", labels(rows * tokens, width));
            }
            case FEATURE_DISTILLATION -> normals(inputs, Shape.of(TEACHERS, rows * tokens, width), "x", "teachers");
            case LOGIT_DISTILLATION -> {
                normals(inputs, Shape.of(rows * tokens, width), "x");
                normals(inputs, Shape.of(TEACHERS, rows * tokens, width), "teachers");
                inputs.put("labels", labels(rows * tokens, width));
            }
            case RECONSTRUCTION -> {
                clips(work, shapes, inputs);
                normals(inputs, Shape.of(rows, tokens, shapes.config().patches().patchLength()), "x");
            }
            case ADAMW -> normals(inputs, Shape.of(shapes.config().depth(), shapes.blockValues()), "x", "gradient");
            case PATCHES, FORWARD -> clips(work, shapes, inputs);
            case SWIN -> inputs.put("clip", Models.pixels(work.batch(), 16, 224, 224, 3));
            case TRAIN -> {
                clips(work, shapes, inputs);
                inputs.put("labels", labels(work.batch(), shapes.classes()));
            }
        }
        return inputs;
    }

    private static void normals(Map<String, Tensor> inputs, Shape shape, String... names) {
        for (String name : names) {
            inputs.put(name, normal(shape, inputs.size() + 1));
        }
    }

    private static Tensor labels(long rows, long classes) {
        int[] labels = new int[Math.toIntExact(rows)];
        Arrays.setAll(labels, i -> Math.toIntExact(i % classes));
        return Tensor.of(labels, rows);
    }

    /** What each teacher weighs in a distillation. */
    public static double[] teacherWeights() {
        return new double[] {.5, .3, .2};
    }

    private static Tensor normal(Shape shape, long stream) {
        return Tensor.normal(Device.cpu(), DType.F32, shape, 3, stream, 0, 1);
    }

    private static void clips(Work work, Shapes shapes, Map<String, Tensor> inputs) {
        VideoMaeConfig config = shapes.config();
        inputs.put(
                "clip",
                Models.pixels(
                        work.batch(),
                        config.frames(),
                        config.height(),
                        config.width(),
                        config.patches().channels()));
        if (work.ratio() > 0) {
            Masking masking = Masking.of(work.ratio(), work.ensemble());
            Tensor[] masks = new Tensor[work.ensemble()];
            for (int p = 0; p < masks.length; p++) {
                masks[p] = masking.strategy()
                        .draw(new MaskContext(Device.cpu(), work.batch(), config.grid(), work.ratio(), SEED, 0, p))
                        .visible();
            }
            int[] visible = new int[work.sequences() * work.tokens(config)];
            for (int p = 0; p < masks.length; p++) {
                int[] one = masks[p].toInts();
                System.arraycopy(one, 0, visible, p * one.length, one.length);
                masks[p].close();
            }
            inputs.put("visible", Tensor.of(visible, work.sequences(), work.tokens(config)));
        }
    }

    /** One of the weights. */
    public float[] weight(String name) {
        return required(weights, name).toFloats();
    }

    /** One of the inputs. */
    public Tensor input(String name) {
        return required(inputs, name);
    }

    /** The bias of a block's queries, keys and values side by side; the keys have none. */
    public float[] qkvBias(String block) {
        float[] q = weight(block + "attn.q_bias");
        float[] v = weight(block + "attn.v_bias");
        float[] bias = Arrays.copyOf(q, 3 * q.length);
        System.arraycopy(v, 0, bias, 2 * q.length, q.length);
        return bias;
    }

    /** The patch embedding with columns in the order of the pixels in memory, (dt, dy, dx, c), instead of (c, dt, dy, dx). */
    public float[] patchEmbedding() {
        VideoMaeConfig config = shapes.config();
        float[] weight = weight("encoder.patch_embed.proj.weight");
        int channels = config.patches().channels();
        int length = config.patches().patchLength();
        int pixels = length / channels;
        float[] result = new float[weight.length];
        for (int row = 0; row < config.embedDim(); row++) {
            for (int i = 0; i < length; i++) {
                result[row * length + i % pixels * channels + i / pixels] = weight[row * length + i];
            }
        }
        return result;
    }

    /** Numbers of the tokens that are seen, one sequence after the other. */
    public int[] visibleTokens() {
        if (inputs.containsKey("visible")) {
            return input("visible").toInts();
        }
        int[] all = new int[work.sequences() * shapes.config().tokens()];
        for (int i = 0; i < all.length; i++) {
            all[i] = i % shapes.config().tokens();
        }
        return all;
    }

    /**
     * Where the patches of {@link #visibleTokens} lie in the clips, taken as rows of the pixels that a patch has in one line: for each token
     * the numbers of its rows in the order (dt, dy).
     */
    public long[] pixelRows() {
        VideoMaeConfig config = shapes.config();
        int patch = config.patches().patch();
        int tubelet = config.patches().tubelet();
        int across = config.width() / patch;
        long rowsOfClip = (long) config.frames() * config.height() * across;
        int tokens = work.tokens(config);
        int rowsOfPatch = tubelet * patch;
        int[] visible = visibleTokens();
        long[] rows = new long[visible.length * rowsOfPatch];
        for (int i = 0; i < visible.length; i++) {
            long clip = i / tokens % work.batch() * rowsOfClip;
            int slot = visible[i] / config.plane();
            int cell = visible[i] % config.plane();
            for (int r = 0; r < rowsOfPatch; r++) {
                long frame = (long) slot * tubelet + r / patch;
                long line = (long) cell / across * patch + r % patch;
                rows[i * rowsOfPatch + r] = clip + (frame * config.height() + line) * across + cell % across;
            }
        }
        return rows;
    }

    private static Tensor required(Map<String, Tensor> tensors, String name) {
        Tensor tensor = tensors.get(name);
        if (tensor == null) {
            throw new IllegalArgumentException("there is no " + name + "; there are " + tensors.keySet());
        }
        return tensor;
    }

    @Override
    public void close() {
        weights.values().forEach(Tensor::close);
        inputs.values().forEach(Tensor::close);
        try {
            Files.deleteIfExists(weightsFile);
            Files.deleteIfExists(inputsFile);
        } catch (IOException e) {
            // The folder is deleted at the end.
        }
    }
}
