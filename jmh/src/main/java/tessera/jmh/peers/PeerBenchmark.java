package tessera.jmh.peers;

import java.io.IOException;
import java.io.PrintWriter;
import java.io.UncheckedIOException;
import java.nio.charset.StandardCharsets;
import java.nio.file.Files;
import java.nio.file.Path;
import java.util.ArrayList;
import java.util.Comparator;
import java.util.EnumMap;
import java.util.HashSet;
import java.util.List;
import java.util.Locale;
import java.util.Map;
import java.util.Objects;
import java.util.ServiceLoader;
import java.util.Set;
import java.util.stream.Stream;
import tessera.jmh.Host;
import tessera.jmh.ResultsFile;
import tessera.kernels.Device;
import tessera.tensor.io.AtomicFile;

/**
 * Measures the CPU beside PyTorch and ONNX Runtime: {@code ./tessera bench --peers}; see {@link Options#USAGE}.
 *
 * <p>Everything is measured in turn ({@link Rounds}), on the same weights and inputs ({@link Task}), with the same number of threads,
 * and every result is compared with ours in f32. A contender that is not there, or fails, is in the results with the reason. The files
 * of results are complete after every work, so a run that is cut short leaves what it has.
 *
 * <p>The peers that are Java libraries are built with the Maven profile {@code peers} alone, so that their jars, of some hundred
 * megabytes, are on nobody else's class path; they are found as services.
 */
public final class PeerBenchmark {
    /** The place of an absence that is none of one work. */
    static final String ALL = "all";

    private static final String BEGIN = "\n<!-- peers -->\n";
    private static final String END = "\n<!-- /peers -->\n";

    private static final long PAUSE_MILLIS = 20;
    private static final double WARM_SECONDS = 2;
    /** Of a kernel, which is a few milliseconds of little code. */
    private static final double KERNEL_WARM_SECONDS = 1;

    /** The peers of the profile, which are named where it is not built. */
    private static final List<String> PROFILE = List.of("ONNX Runtime", "PyTorch Java");

    private final Options options;
    private final Shapes shapes;
    private final Path file;
    private final Path folder;
    private final PrintWriter out;
    private final PeerResults results = new PeerResults();

    private PeerBenchmark(Options options, Path file, Path folder, PrintWriter out) {
        this.options = options;
        this.shapes = options.tiny() ? Shapes.tiny() : Shapes.paper();
        this.file = file;
        this.folder = folder;
        this.out = out;
    }

    /** Measures, then exits. */
    public static void main(String[] args) {
        PrintWriter out = new PrintWriter(System.out, true, StandardCharsets.UTF_8);
        int code = run(List.of(args), System.getenv().getOrDefault("TESSERA_PEER_PYTHON", "python3"), out);
        out.flush();
        System.exit(code);
    }

    /**
     * Measures, or makes tables or the page of a file.
     *
     * @param python a Python with torch, where no option names one
     * @return the exit code
     */
    public static int run(List<String> args, String python, PrintWriter out) {
        if (args.contains("--help") || args.contains("-h")) {
            out.print(Options.USAGE);
            return 0;
        }
        Options options;
        try {
            options = Options.parse(args, python, Device.cpu().threads());
            if (options.tables() != null) {
                String tables = new PeerTables(PeerResults.read(options.tables())).markdown(options.groups());
                if (options.into() == null) {
                    out.print(tables);
                } else {
                    put(tables, options.into());
                }
                return 0;
            }
            if (options.page() != null) {
                writePage(PeerResults.read(options.page()), options.page());
                return 0;
            }
        } catch (IllegalArgumentException e) {
            out.println("error: " + e.getMessage());
            return 2;
        }
        Path folder;
        try {
            folder = Files.createTempDirectory("tessera-peers");
        } catch (IOException e) {
            throw new UncheckedIOException("cannot make a folder for weights and inputs", e);
        }
        try {
            Path file = Objects.requireNonNullElse(options.out(), ResultsFile.named(""));
            return new PeerBenchmark(options, file, folder, out).measure();
        } finally {
            delete(folder);
        }
    }

    private static void delete(Path folder) {
        try (Stream<Path> files = Files.walk(folder)) {
            files.sorted(Comparator.reverseOrder())
                    .forEach(each -> each.toFile().delete());
        } catch (IOException e) {
            // It lies in the system's folder for such files.
        }
    }

    /** Replaces what lies between two lines of a text. */
    private static void put(String tables, Path file) {
        String text;
        try {
            text = Files.readString(file);
        } catch (IOException e) {
            throw new IllegalArgumentException("--into: cannot read " + file + "; pass a text file", e);
        }
        int from = text.indexOf(BEGIN);
        int to = text.indexOf(END, Math.max(0, from));
        if (from < 0 || to < 0) {
            throw new IllegalArgumentException("--into: " + file + " has no lines '" + BEGIN.strip() + "' and '"
                    + END.strip() + "'; add them where the tables shall be");
        }
        String whole = text.substring(0, from + BEGIN.length()) + "\n" + tables + text.substring(to);
        AtomicFile.write(file, bytes -> bytes.write(whole.getBytes(StandardCharsets.UTF_8)));
    }

    private static void writePage(PeerResults results, Path file) {
        new PeerPage(results).page().write(PeerResults.sibling(file, ".html"));
    }

    /** What all that is measured has in common. */
    record Setting(Options options, Shapes shapes, List<Peer> peers, Path folder) {
        Rounds rounds(double warmSeconds) {
            return options.tiny()
                    ? new Rounds(options.rounds(), 0, 0)
                    : new Rounds(options.rounds(), PAUSE_MILLIS, warmSeconds);
        }
    }

    /** Returns the exit code. */
    private int measure() {
        String revision = options.revision().isEmpty() ? Host.revision() : options.revision();
        Host.about(ResultsFile.today(), revision, options.threads()).forEach(results::about);
        results.about("rounds", options.rounds());
        List<Peer> peers = open();
        try {
            if (options.resume() && Files.exists(file)) {
                results.goOn(PeerResults.read(file));
            }
            checkOut();
            checkStudents();
            measure(new Setting(options, shapes, peers, folder));
            if (options.measures(Options.ACCURACY)) {
                for (Path student : options.students()) {
                    accuracy(student);
                }
            }
        } catch (IllegalArgumentException e) {
            out.println("error: " + e.getMessage());
            return 2;
        } finally {
            peers.forEach(Peer::close);
        }
        results.write(file);
        writePage(results, file);
        return told();
    }

    /** Refuses a place where nothing can be written before anything is measured. */
    private void checkOut() {
        Path parent = Objects.requireNonNull(file.toAbsolutePath().getParent(), "a file of this name has a folder");
        try {
            Files.createDirectories(parent);
        } catch (IOException e) {
            throw new IllegalArgumentException("--out " + file + ": cannot make " + parent + "; name another place", e);
        }
        if (!Files.isWritable(parent) || Files.isDirectory(file)) {
            throw new IllegalArgumentException("--out " + file + " cannot be written; name another place");
        }
    }

    /** Refuses students whose accuracy cannot be measured before anything else is, which takes long. */
    private void checkStudents() {
        Set<String> names = new HashSet<>();
        for (Path student : options.students()) {
            String name = FewShotAccuracy.name(student);
            if (!names.add(name)) {
                throw new IllegalArgumentException("--student " + student + " is a second one of " + name
                        + ", which results could not be told apart from the first; pass it in a run of its own");
            }
        }
    }

    /** Measures every work, and the limits before, amid and after them. */
    private void measure(Setting setting) {
        List<Work> works = shapes.works(options.quick()).stream()
                .filter(work -> options.measures(work.group()) && !results.has(work))
                .toList();
        for (int i = 0; i < works.size(); i++) {
            if (i == 0 || i == works.size() / 2) {
                limits(i == 0 ? "start" : "middle", works, setting);
            }
            measure(works.get(i), setting);
            results.write(file);
        }
        if (!works.isEmpty()) {
            limits("end", works, setting);
        }
    }

    private void limits(String when, List<Work> works, Setting setting) {
        results.addLimits(Limits.measure(when, works, setting));
        results.write(file);
    }

    private void accuracy(Path student) {
        List<FewShotAccuracy.Result> measured = FewShotAccuracy.measure(
                student,
                options.threads() == Device.cpu().threads() ? Device.cpu() : Device.cpu(options.threads()),
                options.tiny() ? FewShotAccuracy.Size.TINY : FewShotAccuracy.Size.FULL);
        measured.forEach(result -> out.println(String.format(
                Locale.ROOT,
                "%-28s %-24s %s",
                result.student() + " " + result.shots() + "-shot",
                result.precision(),
                result.text())));
        results.addAccuracies(measured);
        results.write(file);
    }

    /** Prints the goals and what is not right; returns the exit code. */
    private int told() {
        out.println();
        for (PeerGoals.Goal goal : PeerGoals.of(results)) {
            out.println(String.format(
                            Locale.ROOT,
                            "%-48s %-46s %6s %7s  %-12s %s",
                            goal.goal(),
                            goal.of(),
                            goal.valueText(),
                            goal.bound(),
                            goal.verdict(),
                            goal.detail())
                    .stripTrailing());
        }
        for (Limits.Limit limit : Limits.best(results.limits())) {
            out.println(String.format(
                    Locale.ROOT,
                    "limit: %s %s of %s: %.1f 10^9/s by %s at the %s",
                    limit.kind(),
                    limit.precision(),
                    limit.size(),
                    limit.p50(),
                    limit.contender(),
                    limit.when()));
        }
        for (PeerResults.Absence absence : results.absences()) {
            if (absence.work().equals(ALL)) {
                out.println("absent: " + absence.contender() + ": " + absence.reason());
            }
        }
        List<Row> wrong = results.disagreeing();
        wrong.forEach(row ->
                out.println("wrong: " + row.work() + " of " + row.contender() + ": differs by " + row.difference()));
        out.println(results.rows().size() + " results, " + wrong.size() + " wrong: " + file + ", "
                + PeerResults.sibling(file, ".html"));
        return results.failed() ? 1 : 0;
    }

    private List<Peer> open() {
        List<Peer> peers = new ArrayList<>(List.of(new OwnPeer(options.threads())));
        if (!options.python().equals("none")) {
            try {
                peers.add(new PythonPeer(options.python(), options.threads(), options.compiled(), folder));
            } catch (Peer.AbsentException e) {
                absent(ALL, "PyTorch", e);
            }
        }
        List<String> missing = new ArrayList<>(PROFILE);
        for (Peer.Factory factory : ServiceLoader.load(Peer.Factory.class)) {
            missing.remove(factory.name());
            try {
                peers.add(factory.open(options.threads()));
            } catch (Peer.AbsentException e) {
                absent(ALL, factory.name(), e);
            }
        }
        for (String name : missing) {
            results.absent(
                    ALL, name, "not built; build with \"mvn -Ppeers package\", as \"./tessera bench --peers\" does");
        }
        for (Peer peer : peers) {
            peer.versions().forEach((name, version) -> results.about(peer.name() + " " + name, version));
        }
        return peers;
    }

    private void absent(String work, String contender, RuntimeException e) {
        String reason = e.getMessage() == null ? e.toString() : e.getMessage();
        results.absent(work, contender, reason.lines().findFirst().orElse(""));
    }

    private void measure(Work work, Setting setting) {
        try (Task task = Task.make(work, shapes, folder);
                Lineup lineup = new Lineup(
                        task, setting.peers(), (contender, reason) -> absent(work.name(), contender, reason))) {
            List<double[]> seconds = lineup.time(
                    setting.rounds(work.group().equals(Kind.LINEAR.group()) ? KERNEL_WARM_SECONDS : WARM_SECONDS));
            Map<Precision, double[]> ours = new EnumMap<>(Precision.class);
            for (int i = 0; i < seconds.size(); i++) {
                Lineup.Entry entry = lineup.entries().get(i);
                if (entry.isOurs()) {
                    ours.put(entry.way().precision(), seconds.get(i));
                }
            }
            for (int i = 0; i < seconds.size(); i++) {
                results.add(row(work, lineup.entries().get(i), seconds.get(i), ours));
            }
            results.rows().stream()
                    .filter(row -> row.work().equals(work.name()))
                    .forEach(this::print);
        }
    }

    private Row row(Work work, Lineup.Entry entry, double[] seconds, Map<Precision, double[]> ours) {
        Spread time = Spread.of(
                java.util.Arrays.stream(seconds).map(value -> 1e3 * value).toArray());
        Precision precision = entry.way().precision();
        double[] own = ours.get(precision);
        boolean peer = !(entry.peer() instanceof OwnPeer);
        return new Row(
                work.group(),
                work.name(),
                work.kind().text(),
                work.batch(),
                work.ratio(),
                work.ensemble(),
                work.kind() == Kind.SWIN || work.kind() == Kind.MATMUL ? 0 : work.tokens(shapes.config()),
                entry.peer().name(),
                entry.way().mode(),
                precision.text(),
                time.p20(),
                time.p50(),
                time.p80(),
                peer && own != null
                        ? Double.valueOf(Spread.ofRatios(own, seconds).p50())
                        : null,
                work.flops(shapes) / time.p50() / 1e6,
                work.bytes(shapes) / time.p50() / 1e6,
                0,
                entry.isReference() ? null : Double.valueOf(entry.difference()),
                entry.agrees());
    }

    private void print(Row row) {
        Double ours = row.ours();
        Double difference = row.difference();
        out.println(String.format(
                Locale.ROOT,
                "%-36s %-30s %9s ms%s%s%s",
                row.work(),
                row.contender(),
                PeerTables.milliseconds(row.p50Ms()),
                ours == null ? "" : String.format(Locale.ROOT, "  ours/this %.2f", ours),
                row.share() > 0 ? String.format(Locale.ROOT, "  %.0f %% of the limit", 100 * row.share()) : "",
                difference == null
                        ? ""
                        : String.format(Locale.ROOT, "  differs by %.1e%s", difference, row.agrees() ? "" : " WRONG")));
    }
}
