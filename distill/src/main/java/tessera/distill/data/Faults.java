package tessera.distill.data;

import java.util.HashSet;
import java.util.Set;
import java.util.SortedMap;
import java.util.TreeMap;

/** Which clips of a folder are broken, and what is wrong with the first of them. Safe for use by several threads. */
final class Faults {
    private final int clips;
    private final Set<String> names = new HashSet<>();
    private final SortedMap<Integer, IllegalArgumentException> byPlace = new TreeMap<>();

    /** None of a number of clips. */
    Faults(int clips) {
        this.clips = clips;
    }

    /** Those that were found already. */
    Faults(Faults found) {
        this.clips = found.clips;
        this.names.addAll(found.names);
        this.byPlace.putAll(found.byPlace);
    }

    synchronized boolean isEmpty() {
        return byPlace.isEmpty();
    }

    /** Names of the broken clips. */
    synchronized Set<String> names() {
        return Set.copyOf(names);
    }

    private synchronized boolean isBroken(String name) {
        return names.contains(name);
    }

    /** Looks at a clip unless it is known to be broken; the first to be found so is the first. */
    void check(String name, Runnable look) {
        if (!isBroken(name)) {
            check(name, byPlace.size(), look);
        }
    }

    /**
     * Looks at a clip.
     *
     * @param place the first of all broken clips has the least; those that were found already come before
     * @return whether it is whole
     */
    boolean check(String name, int place, Runnable look) {
        try {
            look.run();
            return true;
        } catch (IllegalArgumentException e) {
            synchronized (this) {
                names.add(name);
                byPlace.put(place, e);
            }
            return false;
        }
    }

    /** Throws what is wrong with the first broken clip, if there is one, with their number. */
    synchronized void refuse() {
        if (!byPlace.isEmpty()) {
            int count = byPlace.size();
            IllegalArgumentException first = byPlace.firstEntry().getValue();
            String number = count == 1
                    ? "1 of " + clips + " clips is broken"
                    : "the first of " + count + " broken clips of " + clips;
            throw new IllegalArgumentException(first.getMessage() + " (" + number + ")", first);
        }
    }

    /** Throws what is wrong with the first broken clip, if more than a share of all clips are broken. */
    synchronized void refuseMoreThan(double share) {
        if (byPlace.size() > share * clips) {
            IllegalArgumentException first = byPlace.firstEntry().getValue();
            throw new IllegalArgumentException(
                    first.getMessage() + " (the first of " + byPlace.size() + " broken clips of " + clips
                            + ", more than the share of " + share + " that may be left out; --most-broken allows more)",
                    first);
        }
    }

    /** How many clips were left out, and why the first of them, in one line. */
    synchronized String leftOut() {
        return byPlace.size() + " of " + clips + " clips left out; the first: "
                + byPlace.firstEntry().getValue().getMessage();
    }
}
