package tessera.jmh;

import java.io.IOException;
import java.io.OutputStream;
import java.nio.file.Path;
import java.util.ArrayList;
import java.util.Collections;
import java.util.List;
import java.util.Locale;
import java.util.Map;
import java.util.concurrent.CyclicBarrier;
import java.util.stream.Stream;
import tessera.kernels.DType;
import tessera.kernels.Device;
import tessera.nn.inference.Masking;
import tessera.nn.inference.Student;

/**
 * Masked inference of ViT-S (one clip of 16 x 224 x 224) on cores that it does not have to itself: beside a process that keeps one
 * core busy, and two embedders in one process that call their students at the same time.
 *
 * <p>{@code ./tessera bench --shared [ROUNDS [RHO,RHO... [CORE]]]}, on a machine with more cores below {@code taskset -c 0,1}. With
 * CORE the busy process is bound to that core, else it goes where the system puts it. One line for each rho: the median of a forward
 * pass alone and beside the busy process and their ratio; then what share of its own rate alone each of the two embedders keeps. The
 * same is written to {@code jmh/results}.
 *
 * <p>Trap avoided: what a machine does otherwise changes by the minute, so the two sides take turns of a second, and the busy
 * process is there all the time and only asleep in the turns without it.
 */
public final class SharedCores {
    private static final double TURN_SECONDS = 1;
    private static final int LEAST_CALLS = 3;

    static final String USAGE = """
        Usage: tessera bench --shared [ROUNDS [RHO,RHO... [CORE]]]
        Masked inference of ViT-S on cores that it does not have to itself: beside a busy process, and two embedders side by side.
          ROUNDS     turns of each side (15)
          RHO,RHO    shares of hidden tokens (.75,0)
          CORE       the core that the busy process is bound to (where the system puts it)
        Results are printed and written to jmh/results/DATE-PROCESSOR-shared.json.
        """;

    private SharedCores() {}

    /** Runs all and prints a line for each figure; exit code 2 for words that say nothing. */
    public static void main(String[] args) throws Exception {
        if (List.of(args).contains("--help") || List.of(args).contains("-h")) {
            System.out.print(USAGE);
            return;
        }
        Words words;
        try {
            words = Words.of(args);
        } catch (IllegalArgumentException e) {
            System.err.println("error: " + e.getMessage());
            System.exit(2);
            return;
        }
        measure(words);
    }

    /**
     * What the command line asks for.
     *
     * @param rounds turns of each side, at least 1
     * @param ratios shares of hidden tokens, each in [0, 1)
     * @param core that the busy process is bound to; empty where the system puts it
     */
    record Words(int rounds, double[] ratios, String core) {
        /** Reads ROUNDS, RHO,RHO... and CORE, of which later ones may be left away. */
        static Words of(String... args) {
            require(args.length <= 3, args.length + " words are given", "give at most ROUNDS, RHO,RHO... and CORE");
            String rounds = args.length > 0 ? args[0] : "15";
            require(rounds.matches("[1-9]\\d{0,3}"), "ROUNDS is '" + rounds + "'", "give a number from 1 to 9999");
            String ratios = args.length > 1 ? args[1] : ".75,0";
            require(
                    ratios.matches("(0|0?\\.\\d{1,9})(,(0|0?\\.\\d{1,9}))*"),
                    "RHO is '" + ratios + "'",
                    "give shares of hidden tokens of at least 0 and below 1, such as .75,0");
            String core = args.length > 2 ? args[2] : "";
            require(core.matches("\\d{0,4}"), "CORE is '" + core + "'", "give the number of a core");
            return new Words(
                    Integer.parseInt(rounds),
                    Stream.of(ratios.split(","))
                            .mapToDouble(Double::parseDouble)
                            .toArray(),
                    core);
        }

        private static void require(boolean ok, String given, String remedy) {
            if (!ok) {
                throw new IllegalArgumentException(given + "; " + remedy + ", or --help");
            }
        }
    }

    /**
     * One figure.
     *
     * @param ratio share of hidden tokens
     * @param of what was measured
     * @param unit of the values
     * @param p20 percentile 20
     * @param p50 the median
     * @param p80 percentile 80
     */
    record Figure(double ratio, String of, String unit, double p20, double p50, double p80) {
        static Figure of(double ratio, String of, String unit, List<Double> values) {
            return new Figure(ratio, of, unit, quantile(values, .2), quantile(values, .5), quantile(values, .8));
        }

        /** The median, and what a fifth of the values is below and above. */
        String text() {
            return String.format(Locale.ROOT, "%.3g (%.3g to %.3g)", p50, p20, p80);
        }
    }

    /** The figures as a file of results. */
    static ResultsFile results(Words words, List<Figure> figures) {
        Map<String, String> about =
                Host.about(ResultsFile.today(), Host.revision(), Device.cpu().threads());
        about.put("rounds", Integer.toString(words.rounds()));
        about.put("busy process", words.core().isEmpty() ? "on any core" : "on core " + words.core());
        return new ResultsFile(about).list("rows", figures);
    }

    private static void measure(Words words) throws Exception {
        int rounds = words.rounds();
        List<String> bound = words.core().isEmpty() ? List.of() : List.of("taskset", "-c", words.core());
        System.out.println(Device.cpu().describe() + (bound.isEmpty() ? "" : ", busy process on core " + words.core()));
        Path file = ResultsFile.named("shared");
        List<Figure> figures = new ArrayList<>();
        try (Busy busy = new Busy(bound);
                Student first = Models.student(1, DType.F32);
                Student second = Models.student(2, DType.F32)) {
            for (double ratio : words.ratios()) {
                try (Student.Session session = session(first, ratio);
                        Student.Session other = session(second, ratio)) {
                    // Compiled code and packed weights first.
                    turn(session);
                    turn(other);
                    figures.addAll(besideABusyProcess(ratio, rounds, session, busy));
                    figures.addAll(twoEmbedders(ratio, rounds, session, other));
                }
                results(words, figures).write(file);
            }
        }
        System.out.println(figures.size() + " results: " + file);
    }

    private static Student.Session session(Student student, double ratio) {
        Student.Session session = student.session(1, Masking.of(ratio, 1));
        Models.fill(session.input());
        return session;
    }

    /** Milliseconds of one forward pass. */
    private static double call(Student.Session session) {
        long start = System.nanoTime();
        float[] features = session.features(1);
        double millis = (System.nanoTime() - start) / 1e6;
        if (!Float.isFinite(features[0])) {
            throw new IllegalStateException("the feature is " + features[0]);
        }
        return millis;
    }

    /** Milliseconds of the calls of one turn. */
    private static List<Double> turn(Student.Session session) {
        List<Double> times = new ArrayList<>();
        double sum = 0;
        while (sum < 1000 * TURN_SECONDS || times.size() < LEAST_CALLS) {
            double time = call(session);
            times.add(time);
            sum += time;
        }
        return times;
    }

    private static List<Figure> besideABusyProcess(double ratio, int rounds, Student.Session session, Busy busy)
            throws IOException {
        List<Double> alone = new ArrayList<>();
        List<Double> beside = new ArrayList<>();
        for (int round = 0; round < rounds; round++) {
            alone.addAll(turn(session));
            busy.spin(true);
            beside.addAll(turn(session));
            busy.spin(false);
        }
        Figure before = Figure.of(ratio, "forward pass alone", "ms", alone);
        Figure after = Figure.of(ratio, "forward pass beside a busy process", "ms", beside);
        System.out.printf(
                Locale.ROOT,
                "rho %s: alone %s, beside a busy process %s ms: %.2f times as long%n",
                ratio,
                before.text(),
                after.text(),
                after.p50() / before.p50());
        return List.of(before, after);
    }

    /** The rates of both, side by side, against the mean of their turns alone before and after. */
    private static List<Figure> twoEmbedders(double ratio, int rounds, Student.Session first, Student.Session second)
            throws Exception {
        List<Double> firstShares = new ArrayList<>();
        List<Double> secondShares = new ArrayList<>();
        for (int round = 0; round < rounds; round++) {
            double firstAlone = mean(turn(first));
            double secondAlone = mean(turn(second));
            double[] rates = rates(first, second);
            firstShares.add(rates[0] * firstAlone);
            secondShares.add(rates[1] * secondAlone);
        }
        String unit = "of its rate alone";
        Figure one = Figure.of(ratio, "first of two embedders", unit, firstShares);
        Figure other = Figure.of(ratio, "second of two embedders", unit, secondShares);
        System.out.printf(
                Locale.ROOT,
                "rho %s: of two embedders one keeps %s and the other %s of its rate alone%n",
                ratio,
                one.text(),
                other.text());
        return List.of(one, other);
    }

    /** Calls per millisecond of each, while the other calls too. */
    private static double[] rates(Student.Session first, Student.Session second) throws Exception {
        CyclicBarrier together = new CyclicBarrier(2);
        double[] rates = new double[2];
        Thread other = new Thread(() -> rates[1] = rate(second, together));
        other.start();
        rates[0] = rate(first, together);
        other.join();
        return rates;
    }

    /** Of calls that begin within two turns; the one before the last still has the other's company. */
    private static double rate(Student.Session session, CyclicBarrier together) {
        try {
            together.await();
        } catch (Exception e) {
            throw new IllegalStateException(e);
        }
        long start = System.nanoTime();
        long end = start;
        int calls = 0;
        while (true) {
            call(session);
            long now = System.nanoTime();
            if (now - start > 2e9 * TURN_SECONDS && calls >= 1) {
                return calls * 1e6 / (end - start);
            }
            calls++;
            end = now;
        }
    }

    private static double mean(List<Double> values) {
        return values.stream().mapToDouble(Double::doubleValue).sum() / values.size();
    }

    private static double quantile(List<Double> values, double share) {
        List<Double> sorted = new ArrayList<>(values);
        Collections.sort(sorted);
        return sorted.get((int) Math.round(share * (sorted.size() - 1)));
    }

    /** A process that spins or sleeps, as it is told by single bytes. */
    static final class Busy implements AutoCloseable {
        private final Process process;
        private final OutputStream orders;

        private Busy(List<String> before) throws IOException {
            List<String> command = new ArrayList<>(before);
            command.add(Path.of(System.getProperty("java.home"), "bin", "java").toString());
            command.addAll(List.of("-Xint", "-XX:+UseSerialGC", "-cp", System.getProperty("java.class.path")));
            command.add(Busy.class.getName());
            process = new ProcessBuilder(command)
                    .redirectError(ProcessBuilder.Redirect.INHERIT)
                    .start();
            orders = process.getOutputStream();
        }

        void spin(boolean on) throws IOException {
            orders.write(on ? 1 : 0);
            orders.flush();
        }

        /** The process. */
        public static void main(String[] args) throws IOException {
            int order = System.in.read();
            while (order >= 0) {
                while (order == 1 && System.in.available() == 0) {
                    for (int i = 0; i < 1_000_000; i++) {
                        Thread.onSpinWait();
                    }
                }
                order = System.in.read();
            }
        }

        @Override
        public void close() {
            process.destroy();
        }
    }
}
