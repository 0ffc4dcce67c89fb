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
        if (kind.ofOneSize()) {
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
     * is less than a hundredth. A step of training takes three times the forward pass, and attention's gradients five products where it
     * takes two, as they compute the scores once more. 0 where they are not counted.
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
            case LINEAR, LINEAR_INPUT_GRADIENT, LINEAR_WEIGHT_GRADIENT -> 6 * rows * d * d;
            case LINEAR_GELU -> 8 * rows * d * d;
            case ATTENTION -> mixing;
            case ATTENTION_GRADIENTS -> 2.5 * mixing;
            case BLOCK -> block;
            case FORWARD -> forward(config, rows, block);
            case TRAIN -> 3 * forward(config, rows, block);
            default -> 0;
        };
    }

    private static double forward(VideoMaeConfig config, double rows, double block) {
        return config.depth() * block
                + 2 * rows * config.embedDim() * config.patches().patchLength();
    }

    /** Bytes that have to be read and written at least, of what is limited by them; 0 for others. */
    public double bytes(Shapes shapes) {
        VideoMaeConfig config = shapes.config();
        double rows = (double) sequences() * tokens(config);
        double features = Float.BYTES * rows * config.embedDim();
        double patches = Float.BYTES * rows * config.patches().patchLength();
        double pixels = patches / Float.BYTES;
        return switch (kind) {
            case COPY -> 2.0 * shapes.copyBytes();
            case LAYER_NORM, CROSS_ENTROPY -> 2 * features;
            case LAYER_NORM_GRADIENTS -> 3 * features;
            case GELU_GRADIENT -> 3 * 4 * features;
            case SOFTMAX -> 2 * Float.BYTES * rows * config.heads() * tokens(config);
            case PATCHES -> pixels + patches;
            case FEATURE_DISTILLATION -> 3 * Task.TEACHERS * features;
            case LOGIT_DISTILLATION -> (2 + Task.TEACHERS) * features;
            case RECONSTRUCTION -> pixels + 2 * patches;
            // Reads four, writes three: parameters, two moments, and the gradients that are read alone.
            case ADAMW -> 7.0 * Float.BYTES * shapes.blockValues() * config.depth();
            default -> 0;
        };
    }
}
