package tessera.distill.report;

import static org.junit.jupiter.api.Assertions.assertEquals;
import static org.junit.jupiter.api.Assertions.assertFalse;
import static org.junit.jupiter.api.Assertions.assertThrows;
import static org.junit.jupiter.api.Assertions.assertTrue;

import java.io.StringReader;
import java.nio.file.Files;
import java.nio.file.Path;
import java.util.ArrayList;
import java.util.List;
import java.util.regex.Matcher;
import java.util.regex.Pattern;
import javax.xml.parsers.DocumentBuilderFactory;
import org.junit.jupiter.api.Test;
import org.junit.jupiter.api.io.TempDir;
import org.w3c.dom.Element;
import org.w3c.dom.NodeList;
import org.xml.sax.InputSource;
import tessera.Close;

class ChartTest {
    private static final Pattern NUMBER = Pattern.compile("-?[0-9]+(\\.[0-9]+)?");

    private static Element parse(String xml) throws Exception {
        return DocumentBuilderFactory.newInstance()
                .newDocumentBuilder()
                .parse(new InputSource(new StringReader(xml)))
                .getDocumentElement();
    }

    private static List<Element> elements(Element root, String name) {
        NodeList nodes = root.getElementsByTagName(name);
        List<Element> list = new ArrayList<>();
        for (int i = 0; i < nodes.getLength(); i++) {
            list.add((Element) nodes.item(i));
        }
        return list;
    }

    private static List<String> texts(Element root) {
        return elements(root, "text").stream().map(Element::getTextContent).toList();
    }

    private static double number(Element element, String attribute) {
        return Double.parseDouble(element.getAttribute(attribute));
    }

    @Test
    void aLineChartIsWellFormedAndStaysInItsFrame() throws Exception {
        double[] x = new double[5000];
        double[] y = new double[5000];
        for (int i = 0; i < x.length; i++) {
            x[i] = i;
            y[i] = i % 97 == 0 ? 1e9 : Math.exp(-i / 900.0) + 0.01;
        }
        y[40] = Double.NaN;
        String svg = new LineChart("loss <& \"quoted\"", Axis.linear("step"), Axis.log("loss"))
                .series("a & b", x, y)
                .series("<script>", new double[] {0, 4999}, new double[] {1, -1})
                .svg();
        assertFalse(svg.contains("<script>"));
        assertFalse(svg.contains("NaN"));
        for (Element path : elements(parse(svg), "path")) {
            Matcher numbers = NUMBER.matcher(path.getAttribute("d"));
            while (numbers.find()) {
                double v = Double.parseDouble(numbers.group());
                assertTrue(v >= 0 && v <= Frame.WIDTH, "coordinate " + v);
            }
        }
        assertTrue(texts(parse(svg)).containsAll(List.of("a & b", "<script>", "step", "loss")));
    }

    @Test
    void aGapInTheValuesIsAGapInTheCurve() throws Exception {
        double[] x = {0, 1, 2, 3, 4};
        double[] y = {1, 2, Double.NaN, 2, 1};
        Element svg = parse(new LineChart("t", Axis.linear("x"), Axis.linear("y"))
                .series("s", x, y)
                .svg());
        String path = elements(svg, "path").getFirst().getAttribute("d");
        assertEquals(2, path.chars().filter(c -> c == 'M').count(), path);
    }

    @Test
    void emptyAndConstantSeriesMakeAChart() throws Exception {
        parse(new LineChart("t", Axis.linear("x"), Axis.log("y")).svg());
        parse(new LineChart("t", Axis.linear("x"), Axis.linear("y"))
                .series("none", new double[0], new double[0])
                .series("one", new double[] {3}, new double[] {0})
                .svg());
        String flat = new LineChart("t", Axis.log("x"), Axis.log("y"))
                .series("flat", new double[] {1, 2}, new double[] {5, 5})
                .svg();
        parse(flat);
        assertFalse(flat.contains("NaN") || flat.contains("Infinity"), flat);
        parse(new BarChart("t", Axis.linear("y"), List.of()).svg());
        parse(new PointChart("t", Axis.linear("x"), Axis.linear("y"))
                .series("s", List.of())
                .svg());
    }

    @Test
    void pointLabelsNeitherOverlapNorLeaveThePicture() throws Exception {
        List<PointChart.Point> points = new ArrayList<>();
        for (int i = 0; i < 12; i++) {
            points.add(new PointChart.Point(10 * Math.pow(1.25, i), 55 + i % 3 + 0.3 * i, 0.4, "point " + i));
        }
        Element svg = parse(new PointChart("t", Axis.log("ms"), Axis.linear("accuracy (%)"))
                .series("s", points)
                .svg());
        List<Element> labels = elements(svg, "text").stream()
                .filter(t -> t.getTextContent().startsWith("point "))
                .toList();
        assertEquals(12, labels.size());
        double width = Svg.textWidth("point 1");
        for (int i = 0; i < labels.size(); i++) {
            assertTrue(number(labels.get(i), "x") >= 0 && number(labels.get(i), "x") + width <= Frame.WIDTH);
            for (int j = 0; j < i; j++) {
                boolean apart = Math.abs(number(labels.get(i), "x") - number(labels.get(j), "x")) >= width
                        || Math.abs(number(labels.get(i), "y") - number(labels.get(j), "y")) >= Svg.FONT;
                assertTrue(
                        apart,
                        labels.get(i).getTextContent() + " covers "
                                + labels.get(j).getTextContent());
            }
        }
    }

    @Test
    void barsStandOnZeroInProportion() throws Exception {
        Element svg = parse(new BarChart("t", Axis.linear("%"), List.of("first group", "second"))
                .series("only", new double[] {20, 60}, new double[] {1, 0})
                .reference(20, "chance")
                .svg());
        List<Element> bars = elements(svg, "rect");
        assertEquals(2, bars.size());
        Close.within(number(bars.get(1), "height") / number(bars.get(0), "height"), 3, 1e-3, "heights");
        for (Element bar : bars) {
            Close.within(number(bar, "y") + number(bar, "height"), Frame.BOTTOM, 0.02, "base");
        }
        assertTrue(texts(svg).containsAll(List.of("first group", "second", "20.0", "60.0", "chance")));
        var negative = new BarChart("t", Axis.linear("%"), List.of("g"));
        assertThrows(IllegalArgumentException.class, () -> negative.series("s", new double[] {-1}, new double[] {0}));
        assertThrows(IllegalArgumentException.class, () -> negative.series("s", new double[] {1, 2}, new double[] {0}));
    }

    @Test
    void ticksAreRound() {
        assertEquals(List.of("0", "20", "40", "60", "80", "100"), ticks(new Scale(false, 0, 100, 0, 1)));
        assertEquals(List.of("−0.4", "−0.2", "0", "0.2"), ticks(new Scale(false, -0.5, 0.3, 0, 1), 4));
        assertEquals(List.of("10", "20", "50", "100", "200"), ticks(new Scale(true, 8, 300, 0, 1)));
        assertEquals(List.of("1e−4", "0.01", "1", "100"), ticks(new Scale(true, 1e-4, 5e3, 0, 1), 4));
        assertEquals("1.5M", Scale.format(1.5e6));
        assertEquals("20k", Scale.format(20_000));
        assertEquals("5e−4", Scale.format(5e-4));
    }

    private static List<String> ticks(Scale scale) {
        return ticks(scale, 5);
    }

    private static List<String> ticks(Scale scale, int wanted) {
        return scale.ticks(wanted).stream().map(Scale::format).toList();
    }

    @Test
    void thePageIsWellFormedEscapedAndSelfContained(@TempDir Path directory) throws Exception {
        Path file = directory.resolve("index.html");
        new HtmlReport("Title & <more>")
                .heading("First")
                .paragraph("a < b & \"c\" \u0000")
                .table(
                        List.of("model", "accuracy (%)"),
                        List.of(List.of("student", "63.02 ± 0.41"), List.of("<teacher>", "–")),
                        "600 episodes")
                .heading("Second")
                .figure(
                        new LineChart("t", Axis.linear("x"), Axis.linear("y"))
                                .series("s", new double[] {0, 1}, new double[] {0, 1})
                                .svg(),
                        "a chart")
                .picture(new byte[] {(byte) 0x89, 'P', 'N', 'G'}, "a \"picture\"")
                .write(file);
        String html = Files.readString(file);
        Element root = parse(html.substring(html.indexOf("<html")));
        assertEquals(2, elements(root, "h2").size());
        assertEquals(
                2, elements(root, "nav").getFirst().getElementsByTagName("a").getLength());
        assertEquals(
                "data:image/png;base64,iVBORw==",
                elements(root, "img").getFirst().getAttribute("src"));
        assertEquals("number", elements(root, "td").get(1).getAttribute("class"));
        assertEquals("", elements(root, "td").get(0).getAttribute("class"));
        assertEquals("<teacher>", elements(root, "td").get(2).getTextContent());
        assertFalse(html.replace("http://www.w3.org/2000/svg", "").contains("http"), "a reference to elsewhere");
        assertFalse(html.contains("<script"));
        try (var files = Files.list(directory)) {
            assertEquals(List.of(file), files.toList());
        }
        var ragged = new HtmlReport("t");
        assertThrows(IllegalArgumentException.class, () -> ragged.table(List.of("a", "b"), List.of(List.of("1")), ""));
    }
}
