package tessera.distill.cli;

import java.nio.file.Path;
import java.util.List;
import java.util.Locale;
import java.util.Map;
import picocli.CommandLine.Option;
import tessera.distill.data.Split;
import tessera.distill.egosim.EgoSim;
import tessera.distill.fewshot.Episode;
import tessera.distill.fewshot.EpisodeSampler;

/** What few-shot episodes are made of, and which of EgoSim's classes judge. */
final class EpisodeOptions {
    static final String SPLIT = "--split";
    private static final String WAYS = "--ways";
    private static final String SHOTS = "--shots";
    private static final String QUERIES = "--queries";

    /** Names of all options. */
    static final List<String> NAMES = List.of(SPLIT, WAYS, SHOTS, QUERIES);

    /** What EgoSim offers for judging; its other splits are for training. */
    enum Judged {
        VALIDATION(Split.VALIDATION),
        TEST(Split.TEST);

        private final Split split;

        Judged(Split split) {
            this.split = split;
        }
    }

    @Option(
            names = SPLIT,
            paramLabel = "NAME",
            description = "EgoSim's classes: validation (to choose settings by) or test. Default: ${DEFAULT-VALUE}")
    private Judged judged;

    @Option(names = WAYS, paramLabel = "N", description = "Classes of an episode. Default: ${DEFAULT-VALUE}")
    private int ways = 5;

    @Option(names = SHOTS, paramLabel = "K", description = "Examples of each class. Default: ${DEFAULT-VALUE}")
    private int shots = 5;

    @Option(names = QUERIES, paramLabel = "Q", description = "Queries of each class. Default: ${DEFAULT-VALUE}")
    private int queries = 15;

    /** @param standard the split unless the user names one */
    EpisodeOptions(Judged standard) {
        judged = standard;
    }

    /** Refuses sizes that make no episode. */
    void check() {
        ToolCommand.requireLeast(WAYS, ways, 2);
        ToolCommand.requireLeast(SHOTS, shots, 1);
        ToolCommand.requireLeast(QUERIES, queries, 1);
    }

    /** Refuses clips that give no episode, by how many there are of each label. */
    void require(Path clips, Map<String, Integer> counts) {
        requireWays(counts.size(), clips.toString());
        counts.forEach((label, count) -> requireEnough(count, "label " + label + " of " + clips, "add clips"));
    }

    /** @param perClass clips of each of EgoSim's classes */
    void requireOfEgoSim(int perClass) {
        requireWays(EgoSim.classes(split()).size(), "EgoSim's " + splitName());
        requireEnough(perClass, "each class of EgoSim", "raise --per-class");
    }

    private void requireWays(int labels, String where) {
        if (labels < ways) {
            throw new IllegalArgumentException(where + " has " + labels + (labels == 1 ? " label" : " labels")
                    + " but --ways is " + ways + "; lower it or add labels");
        }
    }

    private void requireEnough(int count, String where, String remedy) {
        long taken = (long) shots + queries;
        if (count < taken) {
            throw new IllegalArgumentException(where + " has " + count + (count == 1 ? " clip" : " clips")
                    + " but an episode takes " + taken + " (--shots " + shots + " and --queries " + queries
                    + "); lower these or " + remedy);
        }
    }

    /** EgoSim's split to judge on. */
    Split split() {
        return judged.split;
    }

    /** The split, for people. */
    String splitName() {
        return judged.name().toLowerCase(Locale.ROOT);
    }

    int ways() {
        return ways;
    }

    int shots() {
        return shots;
    }

    int queries() {
        return queries;
    }

    /** So many episodes of clips with these labels. */
    List<Episode> draw(int[] labels, long seed, int episodes) {
        return new EpisodeSampler(labels, ways, shots, queries, seed).draw(episodes);
    }
}
