package tessera.distill.report;

import static org.junit.jupiter.api.Assertions.assertEquals;
import static org.junit.jupiter.api.Assertions.assertFalse;
import static org.junit.jupiter.api.Assertions.assertThrows;
import static org.junit.jupiter.api.Assertions.assertTrue;

import java.awt.image.BufferedImage;
import java.io.ByteArrayInputStream;
import java.io.StringReader;
import java.util.ArrayList;
import java.util.Arrays;
import java.util.Base64;
import java.util.List;
import java.util.function.Supplier;
import java.util.regex.Matcher;
import java.util.regex.Pattern;
import java.util.stream.IntStream;
import javax.imageio.ImageIO;
import javax.xml.parsers.DocumentBuilderFactory;
import org.jspecify.annotations.Nullable;
import org.junit.jupiter.api.Test;
import org.w3c.dom.Element;
import org.w3c.dom.NodeList;
import org.xml.sax.InputSource;
import tessera.Close;
import tessera.nn.TokenGrid;
import tessera.nn.inference.Prediction;
import tessera.nn.inference.VideoClip;

/** Pages of what a student saw. */
class PredictionReportTest {
    private static final TokenGrid GRID = new TokenGrid(2, 2, 3);

    /** Frames of 8 x 12 pixels, each of one grey of its own. */
    private static VideoClip clip(int frames, int first) {
        byte[] pixels = new byte[frames * 288];
        for (int f = 0; f < frames; f++) {
            Arrays.fill(pixels, 288 * f, 288 * (f + 1), (byte) (first + 10 * f));
        }
        return new VideoClip(frames, 8, 12, pixels);
    }

    private static Prediction prediction(double cut) {
        return new Prediction(
                List.of(new Prediction.Answer(
                        "action",
                        List.of(new Prediction.Score("pour <tea>", 1 - cut), new Prediction.Score("cut", cut)))),
                1);
    }

    private static boolean[] kept(int... tokens) {
        boolean[] kept = new boolean[GRID.tokens()];
        for (int token : tokens) {
            kept[token] = true;
        }
        return kept;
    }

    private static List<Element> elements(String svg, String name) throws Exception {
        NodeList nodes = DocumentBuilderFactory.newInstance()
                .newDocumentBuilder()
                .parse(new InputSource(new StringReader(svg)))
                .getDocumentElement()
                .getElementsByTagName(name);
        return IntStream.range(0, nodes.getLength())
                .mapToObj(i -> (Element) nodes.item(i))
                .toList();
    }

    private static String svg(int frames, @Nullable TokenGrid grid, boolean[]... masks) {
        return SeenFrames.svg("clip-1", "a <clip>", clip(frames, 20), grid, List.of(masks));
    }

    @Test
    void theFramesAreThoseOfTheStudent() throws Exception {
        List<Element> images = elements(svg(10, GRID, kept(0, 6), kept(1, 7)), "image");
        assertEquals(1, images.size(), "one picture for all masks");
        String data = images.getFirst().getAttribute("href");
        assertTrue(data.startsWith("data:image/jpeg;base64,"), data);
        byte[] jpeg = Base64.getDecoder().decode(data.substring(data.indexOf(',') + 1));
        BufferedImage picture = ImageIO.read(new ByteArrayInputStream(jpeg));
        assertEquals(8 * 12, picture.getWidth());
        assertEquals(2 * 8, picture.getHeight());
        for (int f = 0; f < 10; f++) {
            int grey = picture.getRGB(f % 8 * 12 + 6, f / 8 * 8 + 4) & 0xFF;
            Close.within(grey, 20 + 10 * f, 6, "grey of frame " + f);
        }
        assertEquals(
                List.of("#clip-1"),
                elements(svg(10, GRID, kept(0), kept(1)), "use").stream()
                        .map(use -> use.getAttribute("href"))
                        .toList());
    }

    /** Four frames, of which two make a slot; each is 160 wide and 106.67 high, a cell 53.33 each way. */
    @Test
    void whatAMaskHidesIsDimmed() throws Exception {
        String svg = svg(4, GRID, kept(1, 3, 4, 5, 6), kept(0, 1, 2, 3, 4, 5, 6, 7, 8, 9, 10, 11));
        List<String> areas = elements(svg, "path").stream()
                .map(path -> path.getAttribute("d"))
                .toList();
        String first = "M0 22h53.33v53.33h-53.33zM106.67 22h53.33v53.33h-53.33z";
        String second = "M373.33 22h106.67v53.33h-106.67zM320 75.33h160v53.33h-160z";
        assertEquals(4, areas.size(), "nothing is dimmed under a mask that keeps all");
        assertEquals(first, areas.getFirst());
        assertEquals(first.replace("M0 ", "M160 ").replace("M106.67 ", "M266.67 "), areas.get(1), "of the same slot");
        assertEquals(second, areas.get(2));
        List<String> texts =
                elements(svg, "text").stream().map(Element::getTextContent).toList();
        assertEquals(List.of("mask 1: 5 of 12 tokens are seen", "mask 2: 12 of 12 tokens are seen"), texts);
    }

    @Test
    void whereNothingIsMaskedThatIsSaid() throws Exception {
        for (String svg : List.of(svg(4, GRID), svg(4, null))) {
            assertEquals("every token is seen", elements(svg, "text").getFirst().getTextContent());
            assertEquals(0, elements(svg, "path").size());
        }
    }

    private static int count(String text, String part) {
        return text.split(Pattern.quote(part), -1).length - 1;
    }

    @Test
    void ofManyClipsSomeAreShownEvenlySpread() {
        PredictionReport report = new PredictionReport("day.mp4", "time (s)", GRID);
        List<Integer> asked = new ArrayList<>();
        for (int i = 0; i < 100; i++) {
            int number = i;
            Supplier<List<boolean[]>> masks = () -> {
                asked.add(number);
                return List.of(kept(number % 12));
            };
            report.add("clip <" + i + ">", i, prediction(i / 100.0), clip(4, i), masks);
        }
        String html = report.page("A <day>.").html();
        Matcher shown = Pattern.compile("<figcaption>clip &lt;(\\d+)&gt;: ").matcher(html);
        List<Integer> numbers = new ArrayList<>();
        while (shown.find()) {
            numbers.add(Integer.parseInt(shown.group(1)));
        }
        assertEquals(List.of(0, 16, 32, 48, 64, 80, 96), numbers);
        assertTrue(asked.containsAll(numbers) && asked.size() < 40, asked.toString());
        assertTrue(html.contains("7 of 100 clips, evenly spread."), html);
        assertTrue(html.contains("<td>pour &lt;tea&gt;</td><td class=\"number\">50.5 %</td>"), html);
        assertTrue(html.contains("The mean over 100 clips."), html);
        assertTrue(html.contains("clip &lt;96&gt;: cut 96.0 %, pour &lt;tea&gt; 4.0 %"), html);
        assertEquals(7, count(html, "<image "));
        assertFalse(html.contains("NaN") || html.contains("<script") || html.contains("http://www.w3.org/1999"), html);
    }

    /** Of more points than a page has, each is the mean of as many. */
    @Test
    void aLongCurveIsOneOfMeans() {
        PredictionReport report = new PredictionReport("day.mp4", "time (s)", null);
        for (int i = 0; i < 5000; i++) {
            report.add("clip", i, prediction(i % 2), clip(1, 3), List::of);
        }
        String html = report.page("A day.").html();
        assertTrue(html.contains("; a point is the mean of 8 clips"), html);
        assertTrue(html.contains("<td>cut</td><td class=\"number\">50.0 %</td>"), html);
        assertEquals(1, count(html, "probability</text>"), "one chart");
    }

    @Test
    void oneClipHasNoCurveAndNoneHasNoPage() {
        PredictionReport report = new PredictionReport("cup.mp4", "clip", GRID);
        assertThrows(IllegalArgumentException.class, () -> report.page("Nothing."));
        report.add("clip 1", 1, prediction(.25), clip(4, 1), List::of);
        String html = report.page("A cup.").html();
        assertEquals(1, count(html, "<svg "));
        assertTrue(html.contains("Of one clip."), html);
    }
}
