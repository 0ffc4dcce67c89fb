package tessera.distill.egosim;

/** What is acted on. It shows in the silhouette; colours and textures vary freely. */
public enum Noun {
    CUP(0),
    BOTTLE(1),
    BOX(2),
    BALL(3),
    PAN(4),
    BOOK(5),
    PHONE(6),
    KNIFE(7),
    BOWL(8),
    CAN(9),
    JAR(10),
    HAMMER(11),
    SPONGE(12),
    LOAF(13);

    /** Stands for the noun where random numbers are drawn for it; never changes. */
    final int key;

    Noun(int key) {
        this.key = key;
    }

    /** The noun in plain words, such as "cup". */
    public String word() {
        return name().toLowerCase(java.util.Locale.ROOT);
    }
}
