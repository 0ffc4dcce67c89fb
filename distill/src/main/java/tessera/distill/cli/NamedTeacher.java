package tessera.distill.cli;

import java.nio.file.Path;
import java.util.Comparator;
import java.util.HashSet;
import java.util.List;
import java.util.Set;
import picocli.CommandLine.TypeConversionException;
import tessera.distill.data.Modality;

/**
 * A teacher as {@code --teachers} names it: {@code rgb=runs/rgb}, or {@code large:rgb=runs/large} where there are several of one
 * modality.
 *
 * @param name its own, or that of its modality
 * @param path a model file, or the folder of a run
 */
record NamedTeacher(String name, Modality modality, Path path) {
    /** Reads one word of the option. */
    static NamedTeacher parse(String word) {
        int equals = word.indexOf('=');
        if (equals < 0) {
            throw new TypeConversionException(
                    "pass pairs with '=' between them, MODALITY=FILE, or NAME:MODALITY=FILE for several of a modality");
        }
        String key = word.substring(0, equals);
        int colon = key.indexOf(':');
        Modality modality = Clips.modality(key.substring(colon + 1));
        String name = colon < 0 ? modality.id() : key.substring(0, colon);
        if (!name.matches("[A-Za-z0-9_-]+")) {
            throw new TypeConversionException("a teacher's name is of letters and digits, such as large:rgb=FILE");
        }
        return new NamedTeacher(name, modality, PathWords.parse(word.substring(equals + 1)));
    }

    /**
     * Teachers in the order of their modalities and names, in which losses are summed.
     *
     * @throws IllegalArgumentException if two have one name
     */
    static List<NamedTeacher> ordered(List<NamedTeacher> teachers) {
        Set<String> names = new HashSet<>();
        for (NamedTeacher teacher : teachers) {
            if (!names.add(teacher.name)) {
                throw new IllegalArgumentException("--teachers names '" + teacher.name
                        + "' twice; give each a name of its own, such as large:" + teacher.modality + "="
                        + teacher.path);
            }
        }
        return teachers.stream()
                .sorted(Comparator.comparing(NamedTeacher::modality).thenComparing(NamedTeacher::name))
                .toList();
    }
}
