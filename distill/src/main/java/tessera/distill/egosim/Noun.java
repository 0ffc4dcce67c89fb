package tessera.distill.egosim;

/** What is acted on. It shows in the silhouette; colours and textures vary freely. */
public enum Noun {
    CUP,
    BOTTLE,
    BOX,
    BALL,
    PAN,
    BOOK,
    PHONE,
    KNIFE,
    BOWL,
    CAN,
    JAR,
    HAMMER,
    SPONGE,
    LOAF;

    /** The noun in plain words, such as "cup". */
    public String word() {
        return name().toLowerCase(java.util.Locale.ROOT);
    }
}
