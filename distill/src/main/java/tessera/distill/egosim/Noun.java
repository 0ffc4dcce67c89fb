package tessera.distill.egosim;

import java.util.List;
import java.util.Locale;

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

    /** In the order by which random numbers choose among them; it never changes. */
    static final List<Noun> ALL = List.of(values());

    /** The noun in plain words, such as "cup". */
    public String word() {
        return name().toLowerCase(Locale.ROOT);
    }
}
