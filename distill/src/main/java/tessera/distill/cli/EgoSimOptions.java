package tessera.distill.cli;

import java.nio.file.Path;
import java.util.List;
import java.util.Locale;
import java.util.Map;
import java.util.Set;
import org.jspecify.annotations.Nullable;
import picocli.CommandLine.Mixin;
import picocli.CommandLine.Option;
import picocli.CommandLine.ParseResult;
import tessera.distill.data.ClipSet;
import tessera.distill.data.Geometry;
import tessera.distill.data.Modality;
import tessera.distill.data.Split;
import tessera.distill.egosim.Domain;
import tessera.distill.egosim.EgoSim;
import tessera.distill.egosim.EgoSimClips;
import tessera.distill.train.RunContext;
import tessera.distill.train.Task;

/** Clips of the built-in benchmark instead of one's own. */
final class EgoSimOptions {
    private static final String DOMAIN = "--domain";
    private static final String PER_CLASS = "--per-class";
    private static final String SEED = "--egosim-seed";

    @Option(names = "--egosim", description = "Use the built-in benchmark EgoSim instead of clips of your own.")
    private boolean wanted;

    @Option(
            names = DOMAIN,
            split = ",",
            paramLabel = "NAME",
            description =
                    "Where EgoSim's clips are filmed: source, kitchen or workshop. Training takes several, such as"
                            + " kitchen,workshop, each with an equal share of the clips. Default: kitchen")
    private List<Domain> domains = List.of(Domain.KITCHEN);

    @Option(names = PER_CLASS, paramLabel = "N", description = "EgoSim clips of each class. Default: ${DEFAULT-VALUE}")
    private int perClass = 40;

    @Option(
            names = SEED,
            paramLabel = "N",
            description = "Seed of EgoSim itself, the same in every command. Default: ${DEFAULT-VALUE}")
    private long seed = 1;

    @Mixin
    private FolderOptions folders;

    boolean wanted() {
        return wanted;
    }

    /** Where clips for training are filmed. */
    List<Domain> domains() {
        return domains;
    }

    /**
     * Where clips to judge on are filmed.
     *
     * @throws IllegalArgumentException if the user names several domains
     */
    Domain domain() {
        if (domains.size() > 1) {
            throw new IllegalArgumentException(
                    "--domain names " + domains.size() + " domains but clips are judged in one"
                            + " domain at a time; pass one, and run the command for each");
        }
        return domains.getFirst();
    }

    EgoSim sim(Geometry geometry) {
        return new EgoSim(geometry, seed);
    }

    /**
     * Refuses a number of clips that makes no set, and options of the benchmark without it or of folders beside it.
     *
     * @param others folders of clips that are read beside the benchmark's, null where there is none
     */
    void check(ParseResult given, @Nullable Path... others) {
        if (!wanted) {
            IdleOptions.refuse(
                    given,
                    List.of(DOMAIN, PER_CLASS, SEED, EpisodeOptions.SPLIT),
                    "is for EgoSim's clips; pass --egosim too, or leave it away");
        } else if (areNone(others)) {
            IdleOptions.refuse(
                    given,
                    FolderOptions.NAMES,
                    "is for clips of your own, not for EgoSim's; leave it or --egosim away");
        }
        if (perClass < 1) {
            throw new IllegalArgumentException("--per-class is " + perClass + "; pass 1 or more clips of each class");
        }
        if (Set.copyOf(domains).size() < domains.size()) {
            throw new IllegalArgumentException("--domain names a domain twice; name each once");
        }
    }

    private static boolean areNone(@Nullable Path... folders) {
        for (Path folder : folders) {
            if (folder != null) {
                return false;
            }
        }
        return true;
    }

    /** Refuses, beside that, several domains to judge in. */
    void checkJudged(ParseResult given, @Nullable Path... others) {
        check(given, others);
        domain();
    }

    /** Adds to what a run starts from the version and the seed of the benchmark, if its clips are that's. */
    void note(Map<String, String> origin) {
        if (wanted) {
            origin.put(EgoSim.NOTED, sim(Geometry.SMALL).note());
        }
    }

    /**
     * Clips for training, of one's own or of the benchmark, whichever the user names, with progress.
     *
     * @param refusal where neither is named; ends before {@code , or --egosim}
     * @param folder the user's own clips, or null
     * @param title of reading them
     * @param split of the benchmark's
     */
    ClipSet clips(
            String refusal,
            @Nullable Path folder,
            String title,
            Geometry geometry,
            Split split,
            Set<Modality> modalities,
            ReadingOptions reading,
            RunContext context) {
        requireOne(refusal, folder);
        return folder == null
                ? render(sim(geometry), split, domains, modalities, context)
                : Clips.forTraining(folders.open(folder, modalities, geometry, reading), title, context);
    }

    /** How clips of one's own are read. */
    FolderOptions folders() {
        return folders;
    }

    /** Refuses two sources of clips, or none. */
    void requireOne(String refusal, @Nullable Path folder) {
        if (wanted && folder != null) {
            throw new IllegalArgumentException("both --egosim and the clips " + folder
                    + " are given; pass one of them, --egosim alone for the built-in benchmark");
        }
        if (!wanted && folder == null) {
            throw new IllegalArgumentException(refusal + ", or --egosim for the built-in benchmark");
        }
    }

    int perClass() {
        return perClass;
    }

    /** Renders a split, with progress. */
    ClipSet render(EgoSim sim, Split split, List<Domain> where, Set<Modality> modalities, RunContext context) {
        return render(sim, split, where, 0, perClass, modalities, context);
    }

    /** Renders some clips of every class of a split, with progress. */
    ClipSet render(
            EgoSim sim,
            Split split,
            List<Domain> where,
            long firstClip,
            int count,
            Set<Modality> modalities,
            RunContext context) {
        int total = count * EgoSim.classes(split).size();
        String title = "render " + split.name().toLowerCase(Locale.ROOT);
        try (Task task = context.task(title, Task.Unit.CLIPS, total)) {
            return EgoSimClips.render(sim, split, where, firstClip, count, modalities, task::advance);
        }
    }
}
