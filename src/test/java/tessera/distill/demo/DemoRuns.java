package tessera.distill.demo;

import static org.junit.jupiter.api.Assertions.assertArrayEquals;
import static org.junit.jupiter.api.Assertions.assertFalse;

import java.io.StringReader;
import java.nio.file.Files;
import java.nio.file.Path;
import java.util.ArrayList;
import java.util.Collections;
import java.util.List;
import java.util.function.Consumer;
import java.util.function.Predicate;
import java.util.stream.Stream;
import javax.xml.parsers.DocumentBuilderFactory;
import org.w3c.dom.Element;
import org.xml.sax.InputSource;
import tessera.distill.train.ProgressEvent;
import tessera.distill.train.ProgressListener;
import tessera.distill.train.RunContext;
import tessera.distill.train.StopSignal;

/** What tests of the demos do alike: runs that are silent, watched or stopped, their pages and their models. */
public final class DemoRuns {
    private DemoRuns() {}

    /** The smallest plan, for a file of any name. */
    public static String plan() {
        return DemoTest.plan(7).json();
    }

    public static RunContext silent() {
        return new RunContext(ProgressListener.NONE, new StopSignal());
    }

    /** A run that is asked to stop in a task whose title begins so, by a listener that sees this of its progress. */
    public static RunContext stoppedIn(String title, Predicate<ProgressEvent.Advanced> when) {
        StopSignal stop = new StopSignal();
        return new RunContext(
                event -> {
                    if (event instanceof ProgressEvent.Advanced advanced
                            && event.task().title().startsWith(title)
                            && when.test(advanced)) {
                        stop.request();
                    }
                },
                stop);
    }

    /** The titles of all tasks of a run, one a line. */
    public static String titles(Consumer<RunContext> run) {
        List<String> shown = Collections.synchronizedList(new ArrayList<>());
        run.accept(new RunContext(event -> shown.add(event.task().title()), new StopSignal()));
        return String.join("\n", shown);
    }

    /** The root of a page, which is well-formed and refers to nothing elsewhere. */
    public static Element page(String html) throws Exception {
        assertFalse(html.replace("http://www.w3.org/2000/svg", "").contains("http"), "a reference to elsewhere");
        return DocumentBuilderFactory.newInstance()
                .newDocumentBuilder()
                .parse(new InputSource(new StringReader(html.substring(html.indexOf("<html")))))
                .getDocumentElement();
    }

    /** Files below a folder whose paths end so. */
    public static List<Path> files(Path folder, List<Path> ends) throws Exception {
        try (Stream<Path> files = Files.walk(folder)) {
            return files.filter(file -> ends.stream().anyMatch(file::endsWith)).toList();
        }
    }

    /** Files of one run are those of the whole run, byte for byte. */
    public static void requireSame(List<Path> files, Path run, Path whole) throws Exception {
        for (Path file : files) {
            assertArrayEquals(
                    Files.readAllBytes(whole.resolve(run.relativize(file))), Files.readAllBytes(file), file.toString());
        }
    }
}
