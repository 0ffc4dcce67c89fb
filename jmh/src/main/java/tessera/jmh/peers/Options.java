package tessera.jmh.peers;

import java.nio.file.Path;
import java.util.ArrayList;
import java.util.LinkedHashSet;
import java.util.List;
import java.util.Set;
import org.jspecify.annotations.Nullable;

/**
 * What the command line asks for.
 *
 * @param rounds how often each contender has its turn
 * @param threads of every contender
 * @param groups that are measured, or of which there are tables; empty for all
 * @param out the file of results, null for one named by date and processor
 * @param python the program of PyTorch, {@code none} for without
 * @param compiled whether some of PyTorch's models are also compiled
 * @param quick whether a few works stand for all
 * @param tiny whether shapes are small, to see that it runs
 * @param resume whether works that the file of results has are left out
 * @param students whose accuracy is measured in every precision
 * @param revision of the sources, empty to ask git
 * @param tables a file of results whose tables are printed instead of measuring, or null
 * @param into a text file in which the tables are put between its marks instead of being printed, or null
 * @param page a file of results whose page is written anew instead of measuring, or null
 */
record Options(
        int rounds,
        int threads,
        Set<String> groups,
        @Nullable Path out,
        String python,
        boolean compiled,
        boolean quick,
        boolean tiny,
        boolean resume,
        List<Path> students,
        String revision,
        @Nullable Path tables,
        @Nullable Path into,
        @Nullable Path page) {

    static final String USAGE = """
        Usage: tessera bench --peers [OPTIONS]
        Measures kernels, layers, inference, ensembles and training on the CPU beside PyTorch and ONNX Runtime, in turn, on the same
        weights and inputs, and compares what they compute.
          --rounds N        turns of each contender (15)
          --threads N       threads of each contender (all cores)
          --only LIST       groups: kernels,layers,inference,ensembles,training,accuracy
          --student FILE    also the few-shot accuracy of an rgb student in f32, bf16 and int8; may be given again
          --resume          leaves out what the file of --out has, and adds to it
          --quick           a few works of each group, without torch.compile
          --tiny            small shapes, to see that it runs
          --no-compiled     PyTorch without torch.compile, which else takes some minutes: forward passes of one clip at rho 0
                            and .75 and the training step, in f32 and autocast, where Python finds a C++ compiler
          --python PROGRAM  a Python with torch, or none (TESSERA_PEER_PYTHON, else python3)
          --out FILE        results as JSON, with .csv and .html beside (jmh/results/DATE-PROCESSOR.json)
          --revision TEXT   of the sources (git describe)
          --tables FILE     prints the tables of a file of results as Markdown, with --only those of some groups
          --into FILE       puts those tables into a text file, between its lines "<!-- peers -->" and "<!-- /peers -->"
          --page FILE       writes the page of a file of results anew
        Exit code 0 where every result agrees, 1 where one does not, 2 for a bad option.
        """;

    /** The group of {@link FewShotAccuracy}. */
    static final String ACCURACY = "accuracy";

    private static final List<String> GROUPS =
            List.of("kernels", "layers", "inference", "ensembles", "training", ACCURACY);
    private static final String NAMES =
            "--rounds, --threads, --only, --student, --out, --python, --revision, --tables, --into or --page with a"
                    + " value, or --quick, --tiny, --no-compiled or --resume";

    /**
     * Reads options.
     *
     * @param python the program that no option names
     * @throws IllegalArgumentException if one is unknown, has no value or a value that means nothing
     */
    static Options parse(List<String> args, String python, int cores) {
        int rounds = 15;
        int threads = cores;
        Set<String> groups = new LinkedHashSet<>();
        Path out = null;
        Path tables = null;
        Path into = null;
        List<Path> students = new ArrayList<>();
        Path page = null;
        String revision = "";
        List<String> flags = new ArrayList<>();
        for (int i = 0; i < args.size(); i++) {
            String option = args.get(i);
            if (List.of("--quick", "--tiny", "--no-compiled", "--resume").contains(option)) {
                flags.add(option);
                continue;
            }
            if (i + 1 == args.size()) {
                throw new IllegalArgumentException("option " + option + " is unknown or has no value; pass " + NAMES);
            }
            String value = args.get(++i);
            switch (option) {
                case "--rounds" -> rounds = count(option, value, 1000);
                case "--threads" -> threads = count(option, value, 1024);
                case "--only" -> groups.addAll(groups(value));
                case "--out" -> out = json(option, value);
                case "--python" -> python = value;
                case "--revision" -> revision = value;
                case "--tables" -> tables = json(option, value);
                case "--student" -> students.add(Path.of(value));
                case "--into" -> into = Path.of(value);
                case "--page" -> page = json(option, value);
                default -> throw new IllegalArgumentException("unknown option " + option + "; pass " + NAMES);
            }
        }
        if (into != null && tables == null) {
            throw new IllegalArgumentException("--into " + into + " needs tables; pass --tables FILE.json too");
        }
        if (groups.contains(ACCURACY) && students.isEmpty()) {
            throw new IllegalArgumentException(
                    "--only names '" + ACCURACY + "' but there is no student; pass --student FILE");
        }
        if (!groups.isEmpty() && !groups.contains(ACCURACY) && !students.isEmpty()) {
            throw new IllegalArgumentException("--student " + students.getFirst() + " is for the group '" + ACCURACY
                    + "', which --only leaves out; add it there or leave --student away");
        }
        return new Options(
                rounds,
                threads,
                groups,
                out,
                python,
                !flags.contains("--no-compiled") && !flags.contains("--quick"),
                flags.contains("--quick"),
                flags.contains("--tiny"),
                flags.contains("--resume"),
                List.copyOf(students),
                revision,
                tables,
                into,
                page);
    }

    /** Whether a group is measured. */
    boolean measures(String group) {
        return groups.isEmpty() || groups.contains(group);
    }

    private static int count(String option, String text, int most) {
        if (text.matches("[1-9]\\d{0,3}") && Integer.parseInt(text) <= most) {
            return Integer.parseInt(text);
        }
        throw new IllegalArgumentException(option + " is '" + text + "'; pass a number from 1 to " + most);
    }

    private static List<String> groups(String text) {
        List<String> groups = List.of(text.split(",", -1));
        for (String group : groups) {
            if (!GROUPS.contains(group)) {
                throw new IllegalArgumentException(
                        "--only names '" + group + "'; pass some of " + String.join(",", GROUPS));
            }
        }
        return groups;
    }

    private static Path json(String option, String text) {
        if (!text.endsWith(".json")) {
            throw new IllegalArgumentException(option + " is '" + text + "'; pass a file that ends in .json");
        }
        return Path.of(text);
    }
}
