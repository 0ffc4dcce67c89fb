package tessera.distill.train;

import java.nio.charset.StandardCharsets;
import java.util.Collection;
import java.util.Comparator;
import java.util.HashSet;
import java.util.List;
import java.util.Map;
import java.util.Set;
import java.util.TreeMap;
import java.util.TreeSet;
import java.util.stream.Collectors;
import java.util.stream.IntStream;
import org.jspecify.annotations.Nullable;
import tessera.distill.data.ClipSet;
import tessera.tensor.io.Sha256;

/**
 * Training clips that nothing is trained on, so that teachers can be judged by them. Teachers and students with the same share and
 * seed leave out the same clips of a folder, whichever modalities they see and whichever clips are broken in these.
 *
 * <p>Of each class those clips are left out whose names come first by a hash with the seed. Their number is a share of all clips
 * that are known by name, whole or broken, so a broken clip changes nothing for the others. A clip that is not even known, because it
 * lacks every modality that is loaded, can move one clip of its class in or out, no more.
 *
 * @param share of the clips, in [0, 1); of a class with two clips or more at least one is left out, and one stays
 * @param seed determines which
 */
public record HeldOut(double share, long seed) {
    /** Nothing is left out. */
    public static final HeldOut NONE = new HeldOut(0, 1);

    /** The setting that tells which clips were left out. */
    private static final String CLIPS = "heldOutClips";

    private static final String SHARE = "heldOut";
    private static final String SEED = "heldOutSeed";

    public HeldOut {
        if (!(share >= 0 && share < 1)) {
            throw new IllegalArgumentException(
                    "a share of " + share + " training clips cannot be held out; pass 0 or more and less than 1");
        }
    }

    /** A share with the standard seed, which the seeds of runs do not change. */
    public static HeldOut of(double share) {
        return new HeldOut(share, NONE.seed);
    }

    /**
     * Which clips are left out.
     *
     * @param known names of all clips that are there, whole or broken: their class, a slash, and how they are called in it
     */
    public Set<String> names(Collection<String> known) {
        if (share == 0) {
            return Set.of();
        }
        Map<String, List<String>> ofClass = new TreeSet<>(known)
                .stream()
                        .collect(Collectors.groupingBy(
                                name -> name.substring(0, name.lastIndexOf('/')), TreeMap::new, Collectors.toList()));
        return ofClass.values().stream()
                .flatMap(names -> {
                    int count = names.size();
                    int held = count < 2 ? 0 : Math.clamp(Math.round(share * count), 1, count - 1);
                    return names.stream()
                            .sorted(Comparator.comparing(this::rank))
                            .limit(held);
                })
                .collect(Collectors.toSet());
    }

    /** Depends on the name and the seed alone. */
    private String rank(String name) {
        return Sha256.of((seed + " " + name).getBytes(StandardCharsets.UTF_8));
    }

    /**
     * What a model trained here left out, as its file tells.
     *
     * @param heldOut {@link #NONE} if the file tells nothing
     * @param told whether it tells that
     * @param clips a checksum of the clips' names, or null if it tells none
     */
    record Trained(HeldOut heldOut, boolean told, @Nullable String clips) {
        static Trained of(Map<String, String> metadata) {
            String trained = metadata.get(Trainer.SETTINGS);
            Map<String, @Nullable Object> settings =
                    trained == null ? Map.of() : Settings.parse(trained).values();
            String clips = settings.get(CLIPS) instanceof String checksum ? checksum : null;
            return settings.get(SHARE) instanceof Number share && settings.get(SEED) instanceof Number seed
                    ? new Trained(new HeldOut(share.doubleValue(), seed.longValue()), true, clips)
                    : new Trained(NONE, false, clips);
        }
    }

    /** What a model trained here left out, as its file's metadata tell; {@link #NONE} if they tell nothing. */
    public static HeldOut of(Map<String, String> metadata) {
        return Trained.of(metadata).heldOut;
    }

    /** The clips that are left out, ascending. */
    int[] held(ClipSet clips) {
        Set<String> held = names(clips);
        return IntStream.range(0, clips.size())
                .filter(clip -> held.contains(clips.names().get(clip)))
                .toArray();
    }

    /** The other clips, ascending. */
    int[] rest(ClipSet clips) {
        Set<String> held = names(clips);
        return IntStream.range(0, clips.size())
                .filter(clip -> !held.contains(clips.names().get(clip)))
                .toArray();
    }

    private Set<String> names(ClipSet clips) {
        Set<String> known = new HashSet<>(clips.names());
        known.addAll(clips.leftOut());
        return names(known);
    }

    /** In what another differs, for messages: {@code heldOut 0.2, not 0.1}. */
    String difference(HeldOut other) {
        return share == other.share
                ? SEED + " " + seed + ", not " + other.seed
                : SHARE + " " + share + ", not " + other.share;
    }

    Settings addTo(Settings settings) {
        return settings.with(SHARE, share).with(SEED, seed);
    }

    /** Settings with a checksum of the names of what is left out of a set, if anything is. */
    Settings addTo(Settings settings, ClipSet clips) {
        return share == 0 ? settings : settings.with(CLIPS, checksum(clips));
    }

    String checksum(ClipSet clips) {
        return Sha256.of(new TreeSet<>(names(clips)).toString().getBytes(StandardCharsets.UTF_8));
    }
}
