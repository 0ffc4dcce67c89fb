package tessera.distill.egosim;

/** What the hands do. It shows in the motion; a single frame hardly tells. */
public enum Verb {
    PUSH("push"),
    PULL("pull"),
    LIFT("lift"),
    PUT_DOWN("put down"),
    SLIDE("slide"),
    TURN("turn"),
    POUR("pour"),
    FLIP("flip"),
    SHAKE("shake"),
    SWIRL("swirl"),
    TOSS("toss"),
    SQUEEZE("squeeze"),
    WIPE("wipe"),
    STIR("stir"),
    TAP("tap"),
    OPEN("open"),
    CLOSE("close"),
    PASS("pass");

    private final String word;

    Verb(String word) {
        this.word = word;
    }

    /** The verb in plain words, such as "put down". */
    public String word() {
        return word;
    }
}
