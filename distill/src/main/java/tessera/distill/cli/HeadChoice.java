package tessera.distill.cli;

import java.util.List;
import org.jspecify.annotations.Nullable;
import picocli.CommandLine.Option;
import picocli.CommandLine.ParseResult;
import tessera.distill.fewshot.CosineHead;
import tessera.distill.fewshot.FewShotHead;
import tessera.distill.fewshot.NearestMean;
import tessera.nn.Pooling;
import tessera.nn.inference.Student;

/** {@link HeadOptions}, and what learns from the examples: {@code --head}. */
final class HeadChoice extends HeadOptions {
    private static final String NAME = "--head";

    /** What learns from examples. */
    enum Kind {
        LOGISTIC,
        PROTOTYPE,
        COSINE,
        FINETUNE
    }

    @Option(
            names = NAME,
            paramLabel = "WORD",
            description =
                    "What learns from the examples: logistic (regression), prototype (the nearest class mean, Euclidean),"
                            + " and in fewshot also cosine (Baseline++) or finetune (the whole student is trained anew in each"
                            + " episode, which takes long). Default: ${DEFAULT-VALUE}")
    private Kind kind = Kind.LOGISTIC;

    Kind kind() {
        return kind;
    }

    boolean isFineTuning() {
        return kind == Kind.FINETUNE;
    }

    @Override
    boolean isTuned() {
        return kind == Kind.LOGISTIC && super.isTuned();
    }

    @Override
    void agree(ParseResult given) {
        ProtocolOptions.agree(given, NAME, EnumWords.of(kind), EnumWords.of(Kind.LOGISTIC));
        super.agree(given);
    }

    @Override
    void check() {
        if (kind != Kind.LOGISTIC && isFitGiven()) {
            throw new IllegalArgumentException("--fit says how a logistic regression is fitted but --head is "
                    + EnumWords.of(kind) + "; leave one of them away");
        }
        super.check();
        if (isFineTuning() && !word().equals(Pooling.MEAN.toString())) {
            throw new IllegalArgumentException("--pooling is " + word()
                    + " but --head finetune trains the student's own feature, mean; leave --pooling away");
        }
    }

    /** Refuses what no head's file can hold. */
    void checkLinear() {
        if (kind == Kind.COSINE || isFineTuning()) {
            throw new IllegalArgumentException("--head is " + EnumWords.of(kind)
                    + ", which fewshot judges, but a head's file holds a linear map of features; pass logistic or"
                    + " prototype");
        }
    }

    @Override
    @Nullable
    Double c() {
        return kind == Kind.LOGISTIC ? super.c() : null;
    }

    @Override
    String untuned() {
        return kind == Kind.LOGISTIC
                ? super.untuned()
                : NAME + " " + EnumWords.of(kind) + " does not do; pass another pooling such as mean";
    }

    @Override
    FewShotHead head(List<Pooling> candidates, Student student) {
        return switch (kind) {
            case LOGISTIC -> super.head(candidates, student);
            case PROTOTYPE -> new NearestMean();
            case COSINE -> new CosineHead();
            case FINETUNE -> throw new IllegalStateException("finetune learns from clips");
        };
    }
}
