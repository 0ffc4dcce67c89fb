package tessera;

import static java.util.Objects.requireNonNull;

import java.nio.file.Path;

/** Where the project's files lie, for tests of what is no code. */
public final class SourceTree {
    private SourceTree() {}

    /** The project's folder, whether tests run there or in the module of the tests. */
    public static Path root() {
        Path here = Path.of("").toAbsolutePath();
        return here.endsWith(Path.of("src", "test"))
                ? requireNonNull(requireNonNull(here.getParent()).getParent())
                : here;
    }
}
