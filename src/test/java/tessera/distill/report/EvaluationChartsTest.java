package tessera.distill.report;

import static org.junit.jupiter.api.Assertions.assertEquals;
import static org.junit.jupiter.api.Assertions.assertFalse;
import static org.junit.jupiter.api.Assertions.assertTrue;

import java.io.StringReader;
import java.util.ArrayList;
import java.util.List;
import javax.xml.parsers.DocumentBuilderFactory;
import org.junit.jupiter.api.Test;
import org.w3c.dom.Element;
import org.w3c.dom.NodeList;
import org.xml.sax.InputSource;
import tessera.Close;
import tessera.distill.evaluation.AccuracyCurve;
import tessera.distill.evaluation.Gflops;
import tessera.distill.evaluation.Interval;

/** Charts of calibration and of accuracy against work. */
class EvaluationChartsTest {
    private static List<Element> elements(String svg, String name) throws Exception {
        NodeList nodes = DocumentBuilderFactory.newInstance()
                .newDocumentBuilder()
                .parse(new InputSource(new StringReader(svg)))
                .getDocumentElement()
                .getElementsByTagName(name);
        List<Element> list = new ArrayList<>();
        for (int i = 0; i < nodes.getLength(); i++) {
            list.add((Element) nodes.item(i));
        }
        return list;
    }

    private static double number(Element element, String attribute) {
        return Double.parseDouble(element.getAttribute(attribute));
    }

    @Test
    void barsOfAReliabilityDiagramAreAccuraciesAndGaps() throws Exception {
        String svg = new ReliabilityDiagram("verb <calibration>")
                .bin(.2, .4, Double.NaN, Double.NaN, 0)
                .bin(.4, .6, .25, .5, .75)
                .bin(.8, 1, 1, .9, .25)
                .svg();
        assertFalse(svg.contains("NaN") || svg.contains("<calibration>"), svg);
        List<Element> boxes = elements(svg, "rect").stream()
                .filter(box -> number(box, "height") != 10)
                .toList();
        assertEquals(4, boxes.size(), "two bins, a bar and a gap of each");
        double full = number(boxes.get(2), "height");
        Close.within(number(boxes.get(0), "height") / full, .25, 1e-3, "accuracy of the first");
        Close.within(number(boxes.get(1), "height") / full, .25, 1e-3, "its confidence is above by a quarter");
        Close.within(
                number(boxes.get(1), "y") + number(boxes.get(1), "height"),
                number(boxes.get(0), "y"),
                .02,
                "too high a confidence stands on the bar");
        Close.within(number(boxes.get(3), "height") / full, .1, 1e-3, "gap of the second");
        Close.within(number(boxes.get(3), "y"), number(boxes.get(2), "y"), .02, "which hangs from the bar's top");
        List<String> texts =
                elements(svg, "text").stream().map(Element::getTextContent).toList();
        assertTrue(
                texts.containsAll(List.of(
                        "accuracy", "gap to the mean confidence", "confidence (%)", "accuracy (%)", "75 %", "25 %")),
                texts.toString());
        Element diagonal = elements(svg, "line").stream()
                .filter(line -> line.hasAttribute("stroke-dasharray"))
                .findFirst()
                .orElseThrow();
        Close.within(number(diagonal, "y1"), Frame.BOTTOM, .02, "the diagonal begins at 0");
        Close.within(number(diagonal, "x2"), Frame.RIGHT, .02, "and ends at 100 %");
    }

    @Test
    void curvesHaveAPointForEachWayOfLooking() throws Exception {
        Gflops one = new Gflops(1.2, .8);
        var taught = new AccuracyCurve(
                "taught",
                List.of(
                        new AccuracyCurve.Point(1, new Interval(.5, .02), one),
                        new AccuracyCurve.Point(6, new Interval(.6, Double.NaN), one.times(6))));
        var plain = new AccuracyCurve("plain", List.of(new AccuracyCurve.Point(1, new Interval(.4, .02), one)));
        List<String> charts = AccuracyCurve.charts(List.of(taught, plain));
        assertEquals(3, charts.size());
        for (String svg : charts) {
            assertFalse(svg.contains("NaN"), svg);
            assertEquals(3, elements(svg, "circle").size());
            List<String> texts =
                    elements(svg, "text").stream().map(Element::getTextContent).toList();
            assertTrue(texts.containsAll(List.of("taught", "plain")), texts.toString());
        }
        List<Element> dots = elements(charts.get(1), "circle");
        assertTrue(number(dots.get(0), "cx") < number(dots.get(1), "cx"), "more views are more work");
        assertTrue(number(dots.get(0), "cy") > number(dots.get(1), "cy"), "a higher accuracy stands higher");
        Close.within(number(dots.get(2), "cx"), number(dots.get(0), "cx"), .02, "equal work");
        assertTrue(charts.get(2).contains("without the products within attention"), charts.get(2));
        List<String> labels = elements(charts.get(1), "text").stream()
                .map(Element::getTextContent)
                .toList();
        assertTrue(labels.containsAll(List.of("1 view", "6 views")), labels.toString());
    }
}
