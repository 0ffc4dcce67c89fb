package tessera.distill.cli;

import java.util.ArrayList;
import java.util.List;
import java.util.concurrent.Callable;
import picocli.CommandLine.Command;
import picocli.CommandLine.Unmatched;

/**
 * The commands that the launcher runs by itself, because they build before they start another Java. They are named here
 * for the list of commands alone.
 */
final class LauncherCommands {
    private LauncherCommands() {}

    /** {@code tessera bench}: JMH. */
    @Command(name = "bench", description = "Run the JMH benchmarks; what follows goes to JMH.")
    static final class Bench implements Callable<Integer> {
        @Unmatched
        private List<String> words = new ArrayList<>();

        @Override
        public Integer call() {
            throw elsewhere("bench", words);
        }
    }

    /** {@code tessera bundle}: {@code jmh/src/main/bundle/make.sh}. */
    @Command(name = "bundle", description = "Pack what tests and measures on a machine with a GPU into an archive.")
    static final class Bundle implements Callable<Integer> {
        @Unmatched
        private List<String> words = new ArrayList<>();

        @Override
        public Integer call() {
            throw elsewhere("bundle", words);
        }
    }

    private static IllegalArgumentException elsewhere(String name, List<String> words) {
        String line = words.isEmpty() ? name : name + " " + String.join(" ", words);
        return new IllegalArgumentException(
                name + " is run by the launcher script; start ./tessera " + line + " in the project's folder");
    }
}
