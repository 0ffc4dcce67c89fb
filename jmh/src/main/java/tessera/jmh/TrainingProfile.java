package tessera.jmh;

import java.util.Comparator;
import java.util.LinkedHashMap;
import java.util.List;
import java.util.Locale;
import java.util.Map;
import java.util.concurrent.atomic.AtomicBoolean;
import org.jspecify.annotations.Nullable;
import tessera.kernels.Device;
import tessera.kernels.NativeReport;

/**
 * Where the time of a training step on a CPU goes: the step of {@link TrainingBenchmark}, whose thread is looked at every few
 * milliseconds. What it is in is told by the first kernel on its stack, and by whether a backward pass called it; the thread that
 * asks for a kernel computes a part of it and waits for the others, so its time is the kernel's.
 *
 * <p>{@code java ... tessera.jmh.TrainingProfile [SECONDS]} prints a table of shares.
 *
 * <p>Trap avoided: a thread is seen only where Java lets it be stopped, so a kernel without such a place would be taken for what follows
 * it. Loops of Java have such places in each of their parts, and a native call is one; what is told is no finer than a kernel.
 */
public final class TrainingProfile {
    private static final String KERNELS = "tessera.kernels.cpu.";
    private static final int PERIOD_MILLIS = 2;
    private static final int WARM_UP_STEPS = 10;

    private TrainingProfile() {}

    /** Runs and prints; exit code 2 for words that say nothing. */
    public static void main(String[] args) throws InterruptedException {
        int seconds;
        try {
            seconds = seconds(args);
        } catch (IllegalArgumentException e) {
            System.err.println("error: " + e.getMessage());
            System.exit(2);
            return;
        }
        TrainingBenchmark benchmark = new TrainingBenchmark();
        benchmark.open();
        for (int i = 0; i < WARM_UP_STEPS; i++) {
            benchmark.step();
        }
        Sampler sampler = new Sampler(Thread.currentThread());
        sampler.start();
        long begun = System.nanoTime();
        int steps = 0;
        do {
            benchmark.step();
            steps++;
        } while (System.nanoTime() - begun < seconds * 1e9);
        double millis = (System.nanoTime() - begun) / 1e6 / steps;
        Map<String, Integer> parts = sampler.end();
        benchmark.close();
        System.out.println(Device.cpu().describe() + ", " + NativeReport.cpuKernels());
        System.out.print(table(parts, steps, millis));
    }

    /** How long to look. */
    static int seconds(String... args) {
        if (args.length > 1 || (args.length == 1 && !args[0].matches("[1-9]\\d{0,3}"))) {
            throw new IllegalArgumentException("'" + String.join(" ", args)
                    + "' is no number of seconds; give one from 1 to 9999, or nothing for 60");
        }
        return args.length == 0 ? 60 : Integer.parseInt(args[0]);
    }

    /** A line for each part, the largest first. */
    static String table(Map<String, Integer> parts, int steps, double millis) {
        int all = parts.values().stream().mapToInt(Integer::intValue).sum();
        StringBuilder text = new StringBuilder(String.format(
                Locale.ROOT,
                "%d steps of %.0f ms, looked at %d times%n%n| part | share |%n|---|---|%n",
                steps,
                millis,
                all));
        parts.entrySet().stream()
                .sorted(Map.Entry.comparingByValue(Comparator.reverseOrder()))
                .forEach(part -> text.append(String.format(
                        Locale.ROOT, "| %s | %.1f %% |%n", part.getKey(), 100.0 * part.getValue() / all)));
        return text.toString();
    }

    /**
     * What a stack is in.
     *
     * @param stack innermost first
     */
    static String part(List<StackTraceElement> stack) {
        boolean backward = stack.stream()
                .anyMatch(frame -> frame.getClassName().equals("tessera.tensor.Autograd")
                        && frame.getMethodName().equals("backward"));
        StackTraceElement kernel = stack.reversed().stream()
                .filter(frame -> frame.getClassName().startsWith(KERNELS))
                .findFirst()
                .orElse(null);
        if (kernel == null) {
            return "Java between kernels";
        }
        String family = family(kernel, stack);
        return switch (family) {
            case "AdamW", "batch, masks and loss" -> family;
            default -> family + (backward ? ", backward" : ", forward");
        };
    }

    private static String family(StackTraceElement kernel, List<StackTraceElement> stack) {
        String name = kernel.getClassName().substring(KERNELS.length());
        name = name.substring(name.lastIndexOf('.') + 1).replaceFirst("^(Vector|Scalar|Gemm)", "");
        return switch (name) {
            case "Matmul" -> "linear layers";
            case "Attention" -> "attention";
            case "Norms" -> "layer norm";
            case "Optimiser" -> "AdamW";
            case "Elementwise" -> isGelu(stack) ? "GELU" : "other sums and copies";
            case "Patches", "Tokens", "Random", "Losses" -> "batch, masks and loss";
            default -> "other kernels";
        };
    }

    /** The step has no other function of one element; where the device fuses the MLP, GELU is the only kernel of this family in it. */
    private static boolean isGelu(List<StackTraceElement> stack) {
        return stack.stream()
                .map(StackTraceElement::getClassName)
                .anyMatch(name ->
                        name.equals("tessera.tensor.MlpOp") || name.equals("tessera.tensor.ElementwiseOps$Unary"));
    }

    /** Looks at a thread until it is told to end. */
    private static final class Sampler extends Thread {
        private final Thread watched;
        private final Map<String, Integer> parts = new LinkedHashMap<>();
        private final AtomicBoolean ended = new AtomicBoolean();
        private @Nullable Throwable failure;

        private Sampler(Thread watched) {
            super("sampler");
            this.watched = watched;
            setDaemon(true);
        }

        @Override
        public void run() {
            try {
                while (!ended.get()) {
                    Thread.sleep(PERIOD_MILLIS);
                    parts.merge(part(List.of(watched.getStackTrace())), 1, Integer::sum);
                }
            } catch (InterruptedException | RuntimeException e) {
                failure = e;
            }
        }

        /** How often the thread was in each part. */
        private Map<String, Integer> end() throws InterruptedException {
            ended.set(true);
            join();
            if (failure != null) {
                throw new IllegalStateException("the thread that looks failed", failure);
            }
            return parts;
        }
    }
}
