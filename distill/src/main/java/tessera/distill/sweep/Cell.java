package tessera.distill.sweep;

import java.util.ArrayList;
import java.util.Collection;
import java.util.Collections;
import java.util.LinkedHashMap;
import java.util.LinkedHashSet;
import java.util.List;
import java.util.Map;
import java.util.stream.Collectors;

/**
 * One combination of settings.
 *
 * @param words a word of each axis by its name, in the order of the axes
 */
public record Cell(Map<String, String> words) {
    public Cell {
        words = Collections.unmodifiableMap(new LinkedHashMap<>(words));
    }

    /** Every combination once; where no token is hidden, those that differ in masks alone are one. */
    public static List<Cell> of(List<SweepAxis> axes) {
        List<Cell> cells = new ArrayList<>(List.of(new Cell(Map.of())));
        for (SweepAxis axis : axes) {
            List<Cell> more = new ArrayList<>();
            for (Cell cell : cells) {
                for (String word : axis.words()) {
                    more.add(cell.with(axis.name(), word));
                }
            }
            cells = more;
        }
        Collection<Cell> different = new LinkedHashSet<>();
        cells.forEach(cell -> different.add(cell.plain()));
        return List.copyOf(different);
    }

    private Cell with(String axis, String word) {
        Map<String, String> more = new LinkedHashMap<>(words);
        more.put(axis, word);
        return new Cell(more);
    }

    private Cell plain() {
        return "0".equals(words.get(SweepAxis.RATIO))
                ? with(SweepAxis.STRATEGY, SweepAxis.NO_STRATEGY).with(SweepAxis.ENSEMBLE, "1")
                : this;
    }

    /** The way to look that it stands for. */
    public Setup setup(List<SweepAxis> axes, Setup start) {
        Setup setup = start;
        for (SweepAxis axis : axes) {
            String word = words.get(axis.name());
            if (word != null) {
                setup = axis.setting().apply(setup, word);
            }
        }
        return setup;
    }

    /** What it has in common with cells that give the same answers. */
    Cell answers(List<SweepAxis> axes) {
        Map<String, String> kept = new LinkedHashMap<>(words);
        axes.stream().filter(axis -> !axis.inAnswers()).forEach(axis -> kept.remove(axis.name()));
        return new Cell(kept);
    }

    /** Such as {@code precision=f32,ratio=0.75}. */
    public String key() {
        return words.entrySet().stream()
                .map(entry -> entry.getKey() + "=" + entry.getValue())
                .collect(Collectors.joining(","));
    }
}
