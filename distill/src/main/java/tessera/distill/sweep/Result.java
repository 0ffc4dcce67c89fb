package tessera.distill.sweep;

import java.util.LinkedHashMap;
import java.util.Map;
import org.jspecify.annotations.Nullable;
import tessera.distill.evaluation.Gflops;
import tessera.distill.evaluation.Interval;
import tessera.distill.report.Json;

/**
 * What was measured of a cell.
 *
 * @param refused why the settings do not go together, in which case nothing was measured, or null
 * @param measured or null
 */
public record Result(
        Cell cell, @Nullable String refused, @Nullable Measured measured) {

    /**
     * Figures.
     *
     * @param gflops of a clip
     * @param milliseconds of a clip: median over the rounds
     * @param share of the time that the unmasked student in f32 takes for a clip by itself: median over the rounds, in each of which
     *     both were timed
     * @param weightBytes of the student
     * @param callBytes that a call needs at most beside these
     */
    public record Measured(
            Quality quality, Gflops gflops, double milliseconds, double share, long weightBytes, long callBytes) {}

    String json() {
        return Json.text(this);
    }

    /** Reads what {@link #json} wrote. */
    static Result of(String json) {
        Map<String, @Nullable Object> members = Json.object(json);
        Map<String, String> words = new LinkedHashMap<>();
        members(members(members, "cell"), "words").forEach((name, word) -> words.put(name.toString(), word.toString()));
        Cell cell = new Cell(words);
        if (members.get("refused") instanceof String refused) {
            return new Result(cell, refused, null);
        }
        Map<?, ?> measured = members(members, "measured");
        Map<?, ?> quality = members(measured, "quality");
        Map<?, ?> value = members(quality, "value");
        Map<?, ?> gflops = members(measured, "gflops");
        return new Result(
                cell,
                null,
                new Measured(
                        new Quality(
                                new Interval(number(value, "mean"), number(value, "half")),
                                optional(quality, "calibrationError"),
                                optional(quality, "cosine")),
                        new Gflops(number(gflops, "all"), number(gflops, "withoutAttention")),
                        number(measured, "milliseconds"),
                        number(measured, "share"),
                        (long) number(measured, "weightBytes"),
                        (long) number(measured, "callBytes")));
    }

    private static Map<?, ?> members(Map<?, ?> object, String name) {
        if (object.get(name) instanceof Map<?, ?> members) {
            return members;
        }
        throw new IllegalArgumentException("there is no object '" + name + "'");
    }

    /** JSON has null for a NaN. */
    private static double number(Map<?, ?> object, String name) {
        Double number = optional(object, name);
        return number == null ? Double.NaN : number;
    }

    private static @Nullable Double optional(Map<?, ?> object, String name) {
        return object.get(name) instanceof Number number ? number.doubleValue() : null;
    }
}
