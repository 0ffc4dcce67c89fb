package tessera.kernels.cpu;

/** Whether the kernels of this process may use the Vector API. Refers to none of its classes. */
public final class VectorApi {
    private static final String MODULE = "jdk.incubator.vector";
    private static final int TRIES = 5;
    private static final int CALLS = 200;

    /** An instruction takes some nanoseconds, what Java does without it some thousand. */
    private static final long MOST_NANOS = 300;

    private static final boolean READABLE = ModuleLayer.boot()
            .findModule(MODULE)
            .filter(VectorApi.class.getModule()::canRead)
            .isPresent();
    private static final boolean USABLE = READABLE && multipliesAndAddsAtOnce();

    static {
        if (!USABLE) {
            System.getLogger("tessera.kernels")
                    .log(
                            System.Logger.Level.WARNING,
                            "CPU kernels run without the Vector API and several times slower; {0}",
                            READABLE
                                    ? "this processor has no fused multiply-add, without which it would be slower still"
                                    : "start java with --add-modules " + MODULE);
        }
    }

    private VectorApi() {}

    /** Whether its module is readable and the processor has what the kernels use of it; the first call that finds not logs why. */
    public static boolean usable() {
        return USABLE;
    }

    /** Java tells nowhere whether it has the instruction; without it, it computes with decimals of any length. */
    private static boolean multipliesAndAddsAtOnce() {
        float x = 1;
        long least = Long.MAX_VALUE;
        for (int i = 0; i < TRIES; i++) {
            long start = System.nanoTime();
            for (int j = 0; j < CALLS; j++) {
                x = Math.fma(x, .37f, 1.1f);
            }
            least = Math.min(least, System.nanoTime() - start);
        }
        return x > 0 && least < MOST_NANOS * CALLS;
    }
}
