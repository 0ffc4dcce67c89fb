package tessera.distill.report;

import java.nio.charset.StandardCharsets;
import java.nio.file.Path;
import java.util.ArrayList;
import java.util.Base64;
import java.util.List;
import java.util.regex.Pattern;
import tessera.tensor.io.AtomicFile;

/**
 * Builds one self-contained HTML page: style, charts and pictures are inside it, nothing is fetched, no script runs. The
 * page follows the reader's choice of light or dark and fits narrow screens. Text is escaped.
 */
public final class HtmlReport {
    private static final Pattern NUMBER = Pattern.compile("[-−+]?[0-9.,]+( *[%×]| *±.*| *[a-zA-Zµ/]{1,8})?|–|");

    private static final String STYLE = """
            :root { color-scheme: light dark; --ground: #fff; --text: #1c2128; --soft: #59626e; --line: #dfe3e8;
              --band: #f6f7f9; }
            @media (prefers-color-scheme: dark) {
              :root { --ground: #14171c; --text: #e4e7eb; --soft: #9aa4b0; --line: #30363f; --band: #1b1f26; } }
            * { box-sizing: border-box; }
            body { margin: 0; background: var(--ground); color: var(--text); font: 16px/1.55 system-ui, sans-serif; }
            main { max-width: 57rem; margin: 0 auto; padding: 2.5rem 1.25rem 4rem; }
            h1 { font-size: 1.9rem; line-height: 1.2; margin: 0 0 1.5rem; }
            h2 { font-size: 1.3rem; margin: 3rem 0 .75rem; padding-top: 1.25rem; border-top: 1px solid var(--line); }
            p { margin: .75rem 0; max-width: 44rem; }
            nav { margin: 0 0 1rem; display: flex; flex-wrap: wrap; gap: .25rem 1.25rem; font-size: .95rem; }
            a { color: inherit; text-decoration-color: var(--soft); text-underline-offset: .2em; }
            figure { margin: 1.5rem 0; }
            figure svg, figure img { display: block; max-width: 100%; height: auto; }
            figure svg { width: 100%; }
            figcaption, caption { color: var(--soft); font-size: .9rem; text-align: left; }
            figcaption { margin-top: .5rem; max-width: 44rem; }
            caption { caption-side: bottom; padding-top: .5rem; }
            .wide { overflow-x: auto; margin: 1.5rem 0; }
            table { border-collapse: collapse; font-size: .95rem; font-variant-numeric: tabular-nums; }
            th, td { padding: .35rem .8rem; border-bottom: 1px solid var(--line); text-align: left; white-space: nowrap; }
            th { font-weight: 600; border-bottom-color: var(--soft); }
            tbody tr:nth-child(even) { background: var(--band); }
            .number { text-align: right; }
            """;

    private final String title;
    private final List<String> headings = new ArrayList<>();
    private final StringBuilder body = new StringBuilder();

    /** An empty page. */
    public HtmlReport(String title) {
        this.title = title;
    }

    /** Begins a section; the page links to its sections at the top. */
    public HtmlReport heading(String text) {
        headings.add(text);
        return add("<h2 id=\"section-" + headings.size() + "\">" + Svg.escape(text) + "</h2>\n");
    }

    /** Adds text. */
    public HtmlReport paragraph(String text) {
        return add("<p>" + Svg.escape(text) + "</p>\n");
    }

    /**
     * Adds a table. Columns whose cells are all numbers are set flush right.
     *
     * @param header the name of each column
     * @param rows one cell for each column
     * @param caption text below, empty for none
     * @throws IllegalArgumentException if a row has not as many cells as the header
     */
    public HtmlReport table(List<String> header, List<List<String>> rows, String caption) {
        boolean[] numeric = new boolean[header.size()];
        for (int c = 0; c < numeric.length; c++) {
            numeric[c] = !rows.isEmpty();
            for (int r = 0; r < rows.size(); r++) {
                if (rows.get(r).size() != header.size()) {
                    throw new IllegalArgumentException("report: row " + r + " of a table has "
                            + rows.get(r).size() + " cells but its header has " + header.size()
                            + "; pass one for each column");
                }
                numeric[c] &= NUMBER.matcher(rows.get(r).get(c)).matches();
            }
        }
        StringBuilder html = new StringBuilder("<div class=\"wide\"><table>\n");
        if (!caption.isEmpty()) {
            html.append("<caption>").append(Svg.escape(caption)).append("</caption>\n");
        }
        html.append("<thead>").append(row("th", header, numeric)).append("</thead>\n<tbody>\n");
        for (List<String> cells : rows) {
            html.append(row("td", cells, numeric)).append('\n');
        }
        return add(html + "</tbody></table></div>\n");
    }

    /** Adds a chart as its {@code svg()} gives it; the element goes into the page as it is. */
    public HtmlReport figure(String svg, String caption) {
        return add("<figure>\n" + svg + caption(caption) + "</figure>\n");
    }

    /**
     * Adds a picture.
     *
     * @param png a PNG file's bytes
     * @param caption text below, and what screen readers say
     */
    public HtmlReport picture(byte[] png, String caption) {
        return add("<figure>\n<img alt=\"" + Svg.escape(caption) + "\" src=\"data:image/png;base64,"
                + Base64.getEncoder().encodeToString(png) + "\"/>\n" + caption(caption) + "</figure>\n");
    }

    /** The page. */
    public String html() {
        StringBuilder nav = new StringBuilder();
        for (int i = 0; i < headings.size(); i++) {
            nav.append("<a href=\"#section-%d\">".formatted(i + 1))
                    .append(Svg.escape(headings.get(i)))
                    .append("</a>\n");
        }
        return "<!DOCTYPE html>\n<html lang=\"en\">\n<head>\n<meta charset=\"utf-8\"/>\n"
                + "<meta name=\"viewport\" content=\"width=device-width, initial-scale=1\"/>\n<title>"
                + Svg.escape(title) + "</title>\n<style>\n" + STYLE + "</style>\n</head>\n<body>\n<main>\n<h1>"
                + Svg.escape(title) + "</h1>\n" + (headings.size() < 2 ? "" : "<nav>\n" + nav + "</nav>\n") + body
                + "</main>\n</body>\n</html>\n";
    }

    /**
     * Writes the page, whole or not at all.
     *
     * @throws IllegalArgumentException if the directory does not exist
     * @throws java.io.UncheckedIOException if writing fails
     */
    public void write(Path file) {
        byte[] bytes = html().getBytes(StandardCharsets.UTF_8);
        AtomicFile.write(file, out -> out.write(bytes));
    }

    private HtmlReport add(String html) {
        body.append(html);
        return this;
    }

    private static String caption(String text) {
        return text.isEmpty() ? "" : "<figcaption>" + Svg.escape(text) + "</figcaption>\n";
    }

    private static String row(String tag, List<String> cells, boolean[] numeric) {
        StringBuilder html = new StringBuilder("<tr>");
        for (int c = 0; c < cells.size(); c++) {
            html.append('<').append(tag).append(numeric[c] ? " class=\"number\">" : ">");
            html.append(Svg.escape(cells.get(c))).append("</").append(tag).append('>');
        }
        return html + "</tr>";
    }
}
