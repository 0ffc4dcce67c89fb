package tessera.jmh.peers;

import java.util.Locale;
import tessera.nn.videomae.VideoMaeConfig;
import tessera.tensor.TokenMask;

/**
 * One thing that is measured, whatever it is computed in.
 *
 * @param kind what is carried out
 * @param batch clips
 * @param ratio share of the tokens that is hidden
 * @param ensemble masks for each clip
 */
public record Work(Kind kind, int batch, double ratio, int ensemble) {

    /** The group in which it is listed; inference with more than one mask is one of its own. */
    public String group() {
        return kind == Kind.FORWARD && ensemble > 1 ? "ensembles" : kind.group();
    }

    /** What tells it from the others, for people. */
    public String name() {
        if (kind == Kind.MATMUL || kind == Kind.COPY) {
            return kind.text();
        }
        String sizes = kind == Kind.SWIN ? " B " + batch : " B " + batch + ", rho " + ratioText();
        return kind.text().replace('_', ' ') + sizes + (ensemble > 1 ? ", P " + ensemble : "");
    }

    private String ratioText() {
        return ratio == 0
                ? "0"
                : String.format(Locale.ROOT, "%.2f", ratio)
                        .replaceFirst("^0", "")
                        .replaceFirst("0$", "");
    }

    /** Sequences that the model sees: one for each clip and mask. */
    public int sequences() {
        return batch * ensemble;
    }

    /** Tokens of a sequence. */
    public int tokens(VideoMaeConfig config) {
        return config.slots() * (config.plane() - TokenMask.maskedCells(config.plane(), ratio));
    }

    /**
     * Floating-point operations of one call, a multiplication and an addition counted as two: of the products and of attention; the rest
     * is less than a hundredth. A step of training takes three times the forward pass. 0 where they are not counted.
     */
    public double flops(Shapes shapes) {
        VideoMaeConfig config = shapes.config();
        double rows = (double) sequences() * tokens(config);
        double d = config.embedDim();
        double mixing = 4 * rows * tokens(config) * d;
        double block = 24 * rows * d * d + mixing;
        return switch (kind) {
            case MATMUL ->
                2.0
                        * shapes.product().rows()
                        * shapes.product().columns()
                        * shapes.product().inner();
            case COPY, LAYER_NORM, SWIN -> 0;
            case LINEAR -> 6 * rows * d * d;
            case LINEAR_GELU -> 8 * rows * d * d;
            case ATTENTION -> mixing;
            case BLOCK -> block;
            case FORWARD -> forward(config, rows, block);
            case TRAIN -> 3 * forward(config, rows, block);
        };
    }

    private static double forward(VideoMaeConfig config, double rows, double block) {
        return config.depth() * block
                + 2 * rows * config.embedDim() * config.patches().patchLength();
    }

    /** Bytes of f32 that have to be read and written at least, of what is limited by them; 0 for others. */
    public double bytes(Shapes shapes) {
        VideoMaeConfig config = shapes.config();
        return switch (kind) {
            case COPY -> 2.0 * shapes.copyBytes();
            case LAYER_NORM -> 8.0 * sequences() * tokens(config) * config.embedDim();
            default -> 0;
        };
    }
}
