package tessera.distill.report;

import java.util.Base64;
import java.util.Locale;

/**
 * Writes an SVG picture that stands in a page: text and lines take the page's text colour, so that it is legible on a
 * light and on a dark ground.
 */
final class Svg {
    /** Height of ordinary text in pixels. */
    static final double FONT = 12;

    // The colours of Okabe and Ito, which colour-blind readers can tell apart.
    // Some are a little lighter or darker, to stand out from white and from black.
    private static final String[] COLOURS = {
        "#1f83c9", "#dd6b10", "#16a07a", "#c0679c", "#b78a00", "#4fb0dd", "#8a72d6", "#8a8f98"
    };

    private final StringBuilder xml = new StringBuilder();

    Svg(double width, double height, String title) {
        put(
                "<svg xmlns=\"http://www.w3.org/2000/svg\" role=\"img\" viewBox=\"0 0 %s %s\" width=\"%s\" height=\"%s\""
                        + " font-family=\"system-ui, sans-serif\" font-size=\"%s\" fill=\"none\">\n<title>",
                width, height, width, height, FONT);
        xml.append(escape(title)).append("</title>\n");
    }

    /** The colour of the n-th series. */
    static String colour(int series) {
        return COLOURS[series % COLOURS.length];
    }

    /** About how wide ordinary text is in pixels. */
    static double textWidth(String text) {
        return 0.59 * FONT * text.codePointCount(0, text.length());
    }

    void line(double x1, double y1, double x2, double y2, String colour, double opacity, double width) {
        put(
                "<line x1=\"%s\" y1=\"%s\" x2=\"%s\" y2=\"%s\" stroke=\"%s\" stroke-opacity=\"%s\" stroke-width=\"%s\"/>\n",
                x1, y1, x2, y2, colour, opacity, width);
    }

    void dashedLine(double x1, double y1, double x2, double y2) {
        put(
                "<line x1=\"%s\" y1=\"%s\" x2=\"%s\" y2=\"%s\" stroke=\"currentColor\" stroke-opacity=\"0.6\""
                        + " stroke-dasharray=\"5 4\"/>\n",
                x1, y1, x2, y2);
    }

    void rect(double x, double y, double width, double height, String colour) {
        put("<rect x=\"%s\" y=\"%s\" width=\"%s\" height=\"%s\" fill=\"%s\"/>\n", x, y, width, height, colour);
    }

    void dot(double x, double y, double radius, String colour) {
        put("<circle cx=\"%s\" cy=\"%s\" r=\"%s\" fill=\"%s\"/>\n", x, y, radius, colour);
    }

    /** A path through points, {@code M x y L x y …}. */
    void path(String data, String colour, double width, double opacity) {
        put(
                "<path d=\"%s\" stroke=\"%s\" stroke-width=\"%s\" stroke-opacity=\"%s\" stroke-linejoin=\"round\"/>\n",
                data, colour, width, opacity);
    }

    /** Text that starts at x on the base line y, with a rim of the page's ground that keeps it legible over lines. */
    void label(double x, double y, String text) {
        put(
                "<text x=\"%s\" y=\"%s\" fill=\"currentColor\" stroke=\"var(--ground, #fff)\" stroke-width=\"3\""
                        + " stroke-linejoin=\"round\" paint-order=\"stroke\">",
                x, y);
        xml.append(escape(text)).append("</text>\n");
    }

    /** Text whose {@code anchor} (start, middle or end) is at x and whose base line is at y. */
    void text(double x, double y, String anchor, String text) {
        put("<text x=\"%s\" y=\"%s\" text-anchor=\"%s\" fill=\"currentColor\">", x, y, anchor);
        xml.append(escape(text)).append("</text>\n");
    }

    /** Text that runs upwards, its middle at the given place. */
    void verticalText(double x, double y, String text) {
        put("<text transform=\"translate(%s %s) rotate(-90)\" text-anchor=\"middle\" fill=\"currentColor\">", x, y);
        xml.append(escape(text)).append("</text>\n");
    }

    /**
     * A JPEG picture, which {@link #again} shows elsewhere.
     *
     * @param id of its own in the page
     */
    void jpeg(String id, double x, double y, double width, double height, byte[] jpeg) {
        put(
                "<image id=\"%s\" x=\"%s\" y=\"%s\" width=\"%s\" height=\"%s\" preserveAspectRatio=\"none\""
                        + " href=\"data:image/jpeg;base64,",
                id, x, y, width, height);
        xml.append(Base64.getEncoder().encodeToString(jpeg)).append("\"/>\n");
    }

    /** What was drawn under a name, so far to the right and down. */
    void again(String id, double right, double down) {
        put("<use href=\"#%s\" x=\"%s\" y=\"%s\"/>\n", id, right, down);
    }

    /** Dims what lies below an area, {@code M x y h .. v .. h .. z M ...}. */
    void dim(String area) {
        put("<path d=\"%s\" fill=\"#000\" fill-opacity=\"0.75\"/>\n", area);
    }

    String finish() {
        return xml + "</svg>\n";
    }

    /** Two decimals at most: more would be below a pixel's hundredth. */
    static String number(double value) {
        double rounded = Math.round(value * 100) / 100.0;
        return rounded == Math.rint(rounded) ? Long.toString((long) rounded) : Double.toString(rounded);
    }

    /** Text as XML or HTML content or a quoted attribute; characters that XML does not allow are replaced. */
    static String escape(String text) {
        StringBuilder s = new StringBuilder();
        text.codePoints().forEach(c -> {
            switch (c) {
                case '&' -> s.append("&amp;");
                case '<' -> s.append("&lt;");
                case '>' -> s.append("&gt;");
                case '"' -> s.append("&quot;");
                default -> s.appendCodePoint(isXml(c) ? c : 0xFFFD);
            }
        });
        return s.toString();
    }

    private static boolean isXml(int c) {
        return c == '\t'
                || c == '\n'
                || c == '\r'
                || (c >= 0x20 && c < 0xD800)
                || (c > 0xDFFF && c < 0xFFFE)
                || c > 0xFFFF;
    }

    private void put(String format, Object... arguments) {
        Object[] texts = new Object[arguments.length];
        for (int i = 0; i < texts.length; i++) {
            texts[i] = arguments[i] instanceof Double d ? number(d) : arguments[i];
        }
        xml.append(String.format(Locale.ROOT, format, texts));
    }
}
