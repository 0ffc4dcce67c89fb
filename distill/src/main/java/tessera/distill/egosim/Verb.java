package tessera.distill.egosim;

import java.util.Locale;

/** What the hands do. It shows in the motion; a single frame hardly tells. */
public enum Verb {
    PUSH,
    PULL,
    LIFT,
    PUT_DOWN,
    SLIDE,
    TURN,
    POUR,
    FLIP,
    SHAKE,
    SWIRL,
    TOSS,
    SQUEEZE,
    WIPE,
    STIR,
    TAP,
    OPEN,
    CLOSE,
    PASS;

    /** The verb in plain words, such as "put down". */
    public String word() {
        return name().toLowerCase(Locale.ROOT).replace('_', ' ');
    }
}
