package tessera.jmh.peers;

import java.lang.reflect.RecordComponent;
import java.util.Arrays;
import java.util.LinkedHashMap;
import java.util.List;
import java.util.Map;
import org.jspecify.annotations.Nullable;

/**
 * One result: one library, one way, one {@link Work}.
 *
 * @param group where it is listed
 * @param work its name
 * @param kind what was carried out
 * @param batch clips
 * @param ratio share of hidden tokens
 * @param ensemble masks of each clip
 * @param tokens of a sequence
 * @param library whose
 * @param mode the library's word for the way, empty where it has one
 * @param precision what it computed in
 * @param p20Ms milliseconds of one call, percentile 20
 * @param p50Ms the median
 * @param p80Ms percentile 80
 * @param ours our time over this one in the same precision, the median over the rounds, so that less than 1 is faster; null where we
 *     have none, and for ourselves
 * @param gflops 10^9 floating-point operations in a second, 0 where they are not counted
 * @param gbs 10^9 bytes in a second that have to be moved, 0 where something else limits
 * @param share of the machine's limit ({@link Limits}), 0 where that is not known
 * @param difference from our f32 result, relative; null for ourselves in f32
 * @param agrees whether that is rounding
 */
public record Row(
        String group,
        String work,
        String kind,
        int batch,
        double ratio,
        int ensemble,
        int tokens,
        String library,
        String mode,
        String precision,
        double p20Ms,
        double p50Ms,
        double p80Ms,
        @Nullable Double ours,
        double gflops,
        double gbs,
        double share,
        @Nullable Double difference,
        boolean agrees) {

    /** What tells the contender from the others: library, mode where there is one, precision. */
    public String contender() {
        return contender(library, mode, precision);
    }

    static String contender(String library, String mode, String precision) {
        return library + (mode.isEmpty() || mode.equals(precision) ? "" : " " + mode) + " " + precision;
    }

    /** Whether it is ourselves in the way that an embedder meets. */
    boolean isOurs(Precision in) {
        return library.equals(OwnPeer.NAME) && mode.isEmpty() && precision.equals(in.text());
    }

    Row withShare(double other) {
        return new Row(
                group,
                work,
                kind,
                batch,
                ratio,
                ensemble,
                tokens,
                library,
                mode,
                precision,
                p20Ms,
                p50Ms,
                p80Ms,
                ours,
                gflops,
                gbs,
                other,
                difference,
                agrees);
    }

    /** The names of the columns of a table of all there is. */
    static List<String> columns() {
        return Arrays.stream(Row.class.getRecordComponents())
                .map(RecordComponent::getName)
                .toList();
    }

    /** Column and value, in order; what is null has an empty text. */
    Map<String, String> cells() {
        Map<String, String> cells = new LinkedHashMap<>();
        for (RecordComponent component : Row.class.getRecordComponents()) {
            try {
                Object value = component.getAccessor().invoke(this);
                cells.put(component.getName(), value == null ? "" : value.toString());
            } catch (ReflectiveOperationException e) {
                throw new IllegalStateException(e);
            }
        }
        return cells;
    }

    /**
     * A row of a file of results.
     *
     * @throws IllegalArgumentException if a member is missing or of another kind
     */
    static Row of(Map<String, ? extends @Nullable Object> members) {
        return new Row(
                text(members, "group"),
                text(members, "work"),
                text(members, "kind"),
                (int) number(members, "batch"),
                number(members, "ratio"),
                (int) number(members, "ensemble"),
                (int) number(members, "tokens"),
                text(members, "library"),
                text(members, "mode"),
                text(members, "precision"),
                number(members, "p20Ms"),
                number(members, "p50Ms"),
                number(members, "p80Ms"),
                members.get("ours") == null ? null : Double.valueOf(number(members, "ours")),
                number(members, "gflops"),
                number(members, "gbs"),
                number(members, "share"),
                members.get("difference") == null ? null : Double.valueOf(number(members, "difference")),
                Boolean.TRUE.equals(members.get("agrees")));
    }

    static String text(Map<String, ? extends @Nullable Object> members, String name) {
        if (members.get(name) instanceof String text) {
            return text;
        }
        throw missing(members, name);
    }

    static double number(Map<String, ? extends @Nullable Object> members, String name) {
        if (members.get(name) instanceof Number number) {
            return number.doubleValue();
        }
        throw missing(members, name);
    }

    private static IllegalArgumentException missing(Map<String, ? extends @Nullable Object> members, String name) {
        return new IllegalArgumentException("a row of the results has no " + name + " but " + members.keySet()
                + "; pass a file that bench --peers wrote");
    }
}
