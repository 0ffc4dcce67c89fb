package tessera.distill.cli;

import java.util.ArrayList;
import java.util.List;
import java.util.concurrent.Callable;
import picocli.CommandLine.Command;
import picocli.CommandLine.Model.CommandSpec;
import picocli.CommandLine.Spec;
import picocli.CommandLine.Unmatched;

/**
 * The commands that the launcher runs by itself, because they build before they start another Java. They are named here
 * for the list of commands alone.
 */
abstract class LauncherCommands implements Callable<Integer> {

    @Spec
    private CommandSpec spec;

    @Unmatched
    private List<String> words = new ArrayList<>();

    private LauncherCommands() {}

    @Override
    public Integer call() {
        words.addFirst(spec.name());
        throw new IllegalArgumentException(spec.name() + " is run by the launcher script; start ./tessera "
                + String.join(" ", words) + " in the project's folder");
    }

    /** {@code tessera bench}: JMH, or the benchmarks beside peers or on shared cores. */
    @Command(
            name = "bench",
            description =
                    "Run the JMH benchmarks, or measure the CPU: with --peers beside PyTorch and ONNX Runtime, with"
                            + " --shared on cores that others use too.")
    static final class Bench extends LauncherCommands {}

    /** {@code tessera bundle}: {@code jmh/src/main/bundle/make.sh}. */
    @Command(name = "bundle", description = "Pack what tests and measures on a machine with a GPU into an archive.")
    static final class Bundle extends LauncherCommands {}
}
