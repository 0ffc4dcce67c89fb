package tessera.distill.cli;

import java.nio.file.Path;
import org.jspecify.annotations.Nullable;
import picocli.CommandLine.Option;
import picocli.CommandLine.ParseResult;
import tessera.distill.fewshot.PublishedNorms;
import tessera.nn.MaskStrategy;
import tessera.nn.inference.Masking;
import tessera.nn.inference.Student;

/**
 * In what few-shot evaluation departs from the published protocol, MM-CDFSL's (Hatano et al., ECCV 2024: few-shot adaptation and
 * ensemble masked inference, as the released code has them), each with its switch; and {@code --protocol paper} for none of it.
 */
final class ProtocolOptions {
    private static final String SUPPORT_VIEWS = "--support-views";

    /** Whose protocol. */
    enum Protocol {
        /** What works best here, where no switch says otherwise. */
        OWN,
        /** As published. */
        PAPER
    }

    /** What becomes of the feature's norm. */
    enum FeatureNorm {
        OWN,
        RESET
    }

    @Option(
            names = "--protocol",
            paramLabel = "own|paper",
            description =
                    "paper: as MM-CDFSL (ECCV 2024) adapts and infers, episodes of 5 labels and 15 queries, P = 2 independent"
                            + " tube masks at 0.75 drawn anew in each episode, one of them for a support clip, the plain mean"
                            + " feature, fc_norm reset, eps 1e-5, logistic regression with C = 1. It is --strategy tube"
                            + " --support-views 1 --redraw --pooling mean --fit plain --feature-norm reset --eps 1e-5; the"
                            + " numbers may be changed. Default: ${DEFAULT-VALUE}")
    private Protocol protocol = Protocol.OWN;

    @Option(
            names = SUPPORT_VIEWS,
            paramLabel = "S",
            description = "Masks through which the head sees support clips, 1 (as published) to P. Default: P")
    private @Nullable Integer supportViews;

    @Option(
            names = "--redraw",
            description =
                    "Draw masks anew in each episode, as published, which looks at clips again and again. Default: once for"
                            + " each clip")
    private boolean redraw;

    @Option(
            names = "--feature-norm",
            paramLabel = "own|reset",
            description =
                    "reset: weights 1 and biases 0 in the norm of the feature, as published. Default: ${DEFAULT-VALUE}")
    private FeatureNorm featureNorm = FeatureNorm.OWN;

    @Option(
            names = "--eps",
            paramLabel = "X",
            description = "Added to the variances of all norms; published: 1e-5. Default: as the student's file says")
    private @Nullable Double eps;

    boolean isPaper() {
        return protocol == Protocol.PAPER;
    }

    boolean redraws() {
        return redraw;
    }

    /** Passes of support clips. */
    int supportViews(Masking masking) {
        return supportViews == null ? masking.ensemble() : supportViews;
    }

    /** Puts what the protocol says in the place of what the user left open, and refuses what contradicts it. */
    void settle(MaskOptions masks, HeadOptions head, ParseResult given) {
        masks.masking();
        if (isPaper()) {
            agree(
                    given,
                    "--strategy",
                    masks.masking().strategy().word(),
                    MaskStrategy.tubes().word());
            agree(given, SUPPORT_VIEWS, String.valueOf(supportViews), "1");
            agree(given, "--feature-norm", EnumWords.of(featureNorm), EnumWords.of(FeatureNorm.RESET));
            agree(given, "--eps", String.valueOf(eps), String.valueOf(PublishedNorms.EPS));
            head.agree(given);
            if (given.hasMatchedOption("--groups")) {
                throw new IllegalArgumentException("--groups takes support and queries from different groups but the"
                        + " episodes of --protocol paper do not; leave one of them away");
            }
            masks.standard(MaskStrategy.tubes());
            head.setPlain();
            supportViews = 1;
            redraw = true;
            featureNorm = FeatureNorm.RESET;
            eps = PublishedNorms.EPS;
        }
        int most = masks.masking().ensemble();
        if (supportViews != null && (supportViews < 1 || supportViews > most)) {
            throw new IllegalArgumentException(SUPPORT_VIEWS + " is " + supportViews + " but clips are seen through "
                    + most + (most == 1 ? " mask" : " masks") + "; pass 1 to " + most + ", or raise --ensemble");
        }
        norms();
    }

    /** Refuses an option that was given another value than the protocol's. */
    static void agree(ParseResult given, String option, String value, String published) {
        if (given.hasMatchedOption(option) && !value.equals(published)) {
            throw new IllegalArgumentException(
                    option + " is " + value + " but --protocol paper has " + published + "; leave one of them away");
        }
    }

    /** Refuses what is said of frozen students. */
    void requireOwn(String why) {
        if (supportViews != null || !norms().equals(PublishedNorms.OWN)) {
            throw new IllegalArgumentException(
                    why + "; leave " + SUPPORT_VIEWS + ", --feature-norm and --eps away, or take another head");
        }
    }

    private PublishedNorms norms() {
        return UsageErrors.naming(() -> new PublishedNorms(featureNorm == FeatureNorm.RESET, eps), "--eps");
    }

    /** The student with norms as asked for, to be closed by the caller; or null if its own are kept. */
    @Nullable
    Student otherNorms(Path file, ComputeOptions compute) {
        PublishedNorms norms = norms();
        return norms.equals(PublishedNorms.OWN) ? null : norms.load(file, compute.device(), compute.precision());
    }
}
