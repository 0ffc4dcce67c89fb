package tessera.jmh.peers;

import java.io.IOException;
import java.io.PrintWriter;
import java.io.UncheckedIOException;
import java.nio.charset.StandardCharsets;
import java.nio.file.Files;
import java.nio.file.Path;
import java.time.LocalDate;
import java.util.ArrayList;
import java.util.Comparator;
import java.util.LinkedHashMap;
import java.util.List;
import java.util.Locale;
import java.util.Map;
import java.util.Objects;
import java.util.ServiceLoader;
import java.util.stream.Stream;
import tessera.distill.demo.Machine;
import tessera.kernels.Device;

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

    private static final long PAUSE_MILLIS = 20;
    private static final double WARM_SECONDS = 2;
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
                out.print(new PeerTables(PeerResults.read(options.tables())).markdown());
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
            String date = LocalDate.now(java.time.ZoneId.systemDefault()).toString();
            Path named = Path.of(
                    "jmh", "results", date + "-" + Host.word(Machine.here().processor()) + ".json");
            Path file = Objects.requireNonNullElse(options.out(), named);
            return new PeerBenchmark(options, file, folder, out).measure(date);
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

    private static void writePage(PeerResults results, Path file) {
        new PeerPage(results).page().write(PeerResults.sibling(file, ".html"));
    }

    /** Returns the exit code. */
    private int measure(String date) {
        String revision = options.revision().isEmpty() ? Host.revision() : options.revision();
        Host.describe(results, date, revision, options.threads());
        results.about("rounds", options.rounds());
        List<Peer> peers = open();
        try {
            for (Work work : shapes.works(options.quick())) {
                if (options.groups().isEmpty() || options.groups().contains(work.group())) {
                    measure(work, peers);
                    results.write(file);
                }
            }
        } finally {
            peers.forEach(Peer::close);
        }
        results.write(file);
        writePage(results, file);
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
        return wrong.isEmpty() ? 0 : 1;
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

    /** A contender that is ready, and how far its result is from our f32. */
    private record Entry(Peer peer, Peer.Way way, Contender contender, double difference) {
        boolean isReference() {
            return peer instanceof OwnPeer && way.precision() == Precision.F32;
        }
    }

    private void measure(Work work, List<Peer> peers) {
        List<Entry> entries = new ArrayList<>();
        try (Task task = Task.make(work, shapes, folder)) {
            float[] reference = {};
            for (Peer peer : peers) {
                for (Peer.Way way : peer.ways(work)) {
                    String name = peer.name() + " " + way.mode() + " "
                            + way.precision().text();
                    try {
                        Contender contender = peer.open(task, way);
                        float[] output = contender.output();
                        reference = reference.length == 0 ? output : reference;
                        entries.add(new Entry(peer, way, contender, Spread.difference(output, reference)));
                    } catch (Peer.AbsentException | IllegalStateException e) {
                        absent(work.name(), name, e);
                    }
                }
            }
            add(
                    work,
                    entries,
                    options.tiny()
                            ? new Rounds(options.rounds(), 0, 0)
                            : new Rounds(options.rounds(), PAUSE_MILLIS, WARM_SECONDS));
        } finally {
            entries.forEach(entry -> entry.contender().close());
        }
    }

    /** Times all with the limits of the machine among them. */
    private void add(Work work, List<Entry> entries, Rounds rounds) {
        double bytes = work.bytes(shapes);
        Work product = new Work(Kind.MATMUL, 1, 0, 1);
        try (Task limit = Task.make(product, shapes, folder);
                OwnPeer own = new OwnPeer(options.threads());
                Contender matmul = own.open(limit, new Peer.Way("", Precision.F32));
                Limits.Copy copy = new Limits.Copy(shapes.copyBytes(), options.threads())) {
            List<Contender> contenders =
                    new ArrayList<>(entries.stream().map(Entry::contender).toList());
            contenders.add(matmul);
            if (bytes > 0) {
                contenders.add(copy);
            }
            List<double[]> seconds = rounds.time(contenders);
            Map<Precision, double[]> ours = new LinkedHashMap<>();
            for (int i = 0; i < entries.size(); i++) {
                if (entries.get(i).peer() instanceof OwnPeer) {
                    ours.put(entries.get(i).way().precision(), seconds.get(i));
                }
            }
            double[] ofProduct = scaled(seconds.get(entries.size()), 1 / product.flops(shapes));
            double[] ofCopy = bytes > 0 ? scaled(seconds.getLast(), .5 / shapes.copyBytes()) : new double[0];
            for (int i = 0; i < entries.size(); i++) {
                results.add(row(work, entries.get(i), seconds.get(i), ours, ofProduct, ofCopy));
                print(results.rows().getLast());
            }
        }
    }

    private static double[] scaled(double[] values, double factor) {
        return java.util.Arrays.stream(values).map(value -> value * factor).toArray();
    }

    /**
     * A result.
     *
     * @param ofProduct seconds that one operation of a large product takes, in every round
     * @param ofCopy seconds in which one byte is read or written
     */
    private Row row(
            Work work,
            Entry entry,
            double[] seconds,
            Map<Precision, double[]> ours,
            double[] ofProduct,
            double[] ofCopy) {
        Spread time = Spread.of(scaled(seconds, 1e3));
        double flops = work.flops(shapes);
        double bytes = work.bytes(shapes);
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
                flops / time.p50() / 1e6,
                flops == 0
                        ? 0
                        : Spread.ofRatios(scaled(ofProduct, flops), seconds).p50(),
                bytes / time.p50() / 1e6,
                bytes == 0 ? 0 : Spread.ofRatios(scaled(ofCopy, bytes), seconds).p50(),
                entry.isReference() ? null : Double.valueOf(entry.difference()),
                entry.isReference() || entry.difference() <= precision.tolerance());
    }

    private void print(Row row) {
        Double ours = row.ours();
        Double difference = row.difference();
        out.println(String.format(
                Locale.ROOT,
                "%-28s %-24s %9s ms%s%s%s",
                row.work(),
                row.contender(),
                PeerTables.milliseconds(row.p50Ms()),
                ours == null ? "" : String.format(Locale.ROOT, "  ours/this %.2f", ours),
                row.matmulShare() > 0 ? String.format(Locale.ROOT, "  %.0f %% of matmul", 100 * row.matmulShare()) : "",
                difference == null
                        ? ""
                        : String.format(Locale.ROOT, "  differs by %.1e%s", difference, row.agrees() ? "" : " WRONG")));
    }
}
