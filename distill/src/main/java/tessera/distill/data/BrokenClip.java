package tessera.distill.data;

import java.util.Objects;

/** Says that the files of a clip are broken, as its cause tells, apart from everything else that may be wrong with a look at it. */
final class BrokenClip extends RuntimeException {
    private static final long serialVersionUID = 1;

    BrokenClip(RuntimeException why) {
        super(why);
    }

    /** What is wrong. */
    RuntimeException why() {
        return (RuntimeException) Objects.requireNonNull(getCause());
    }
}
