package tessera.distill.data;

import java.util.HashSet;
import java.util.List;
import java.util.Set;
import java.util.function.Consumer;

/**
 * Clips that are found broken when they are read for training, of which each is told once. Safe for use by several threads.
 */
final class BrokenClips {
    private final List<String> names;
    private final boolean leftOut;
    private final double share;
    private final int before;
    private final Consumer<String> notes;
    private final Set<Integer> broken = new HashSet<>();
    private String first = "";

    /**
     * None yet.
     *
     * @param names of the clips
     * @param leftOut whether others stand in for broken clips; if not, the first is refused
     * @param share of all clips, of which more may not be broken
     * @param before how many were left out before, which are not among the names
     * @param notes told of each broken clip in one line
     */
    BrokenClips(List<String> names, boolean leftOut, double share, int before, Consumer<String> notes) {
        this.names = names;
        this.leftOut = leftOut;
        this.share = share;
        this.before = before;
        this.notes = notes;
    }

    synchronized boolean isKnown(int clip) {
        return broken.contains(clip);
    }

    /**
     * Notes a broken clip.
     *
     * @throws IllegalArgumentException if broken clips are not left out
     */
    void add(int clip, RuntimeException why) {
        String message = String.valueOf(why.getMessage());
        if (!leftOut) {
            throw new IllegalArgumentException(
                    message + " (met in training; pass --skip-broken to let other clips stand in for such)", why);
        }
        int count;
        synchronized (this) {
            if (!broken.add(clip)) {
                return;
            }
            first = broken.size() == 1 ? message : first;
            count = before + broken.size();
        }
        notes.accept("clip " + names.get(clip) + " left out, " + count + " of " + all() + " so far: " + message);
    }

    private int all() {
        return before + names.size();
    }

    /**
     * Refuses to go on with too few clips.
     *
     * @throws IllegalArgumentException if more than the share are broken
     */
    synchronized void requireFew() {
        int count = before + broken.size();
        if (!broken.isEmpty() && count > share * all()) {
            throw new IllegalArgumentException(count + " of " + all() + " clips are broken, more than the share of "
                    + share + " that may be left out; mend them, or allow more by --most-broken; the first met in"
                    + " training: " + first);
        }
    }
}
