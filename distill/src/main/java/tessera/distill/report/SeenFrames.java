package tessera.distill.report;

import java.awt.image.BufferedImage;
import java.io.ByteArrayOutputStream;
import java.io.IOException;
import java.io.UncheckedIOException;
import java.util.List;
import javax.imageio.IIOImage;
import javax.imageio.ImageIO;
import javax.imageio.ImageWriteParam;
import javax.imageio.ImageWriter;
import javax.imageio.stream.MemoryCacheImageOutputStream;
import org.jspecify.annotations.Nullable;
import tessera.nn.TokenGrid;
import tessera.nn.inference.VideoClip;

/** The frames of a clip in rows, once for each mask, with what it hides dimmed. The frames are in the picture once. */
final class SeenFrames {
    private static final int ROW = 8;
    private static final double WIDTH = 720;
    private static final double LARGEST = 160;
    private static final double LINE = 22;
    private static final float QUALITY = 0.9f;

    private SeenFrames() {}

    /**
     * @param id of its own in the page
     * @param masks for each, whether it keeps a token; where there are none or no grid, every token is seen
     */
    static String svg(String id, String title, VideoClip clip, @Nullable TokenGrid grid, List<boolean[]> masks) {
        int columns = Math.min(ROW, clip.frames());
        int rows = (clip.frames() + columns - 1) / columns;
        double width = Math.min(LARGEST, WIDTH / columns);
        double height = width * clip.height() / clip.width();
        double block = LINE + rows * height;
        boolean masked = grid != null && !masks.isEmpty();
        int blocks = masked ? masks.size() : 1;
        Svg svg = new Svg(columns * width, blocks * block, title);
        for (int b = 0; b < blocks; b++) {
            double top = b * block + LINE;
            svg.text(0, top - 7, "start", masked ? name(b, masks.get(b)) : "every token is seen");
            if (b == 0) {
                svg.jpeg(id, 0, top, columns * width, rows * height, jpeg(clip, columns, rows));
            } else {
                svg.again(id, 0, b * block);
            }
            for (int f = clip.frames(); f < columns * rows; f++) {
                svg.rect(f % columns * width, top + (rows - 1) * height, width, height, "var(--ground, #fff)");
            }
            if (grid != null && masked) {
                for (int f = 0; f < clip.frames(); f++) {
                    int row = f / columns;
                    int slot = f * grid.slots() / clip.frames();
                    String hidden =
                            hidden(masks.get(b), slot, grid, f % columns * width, top + row * height, width, height);
                    if (!hidden.isEmpty()) {
                        svg.dim(hidden);
                    }
                }
            }
            for (int c = 1; c < columns; c++) {
                svg.line(c * width, top, c * width, top + rows * height, "var(--ground, #fff)", 1, 2);
            }
            for (int r = 1; r < rows; r++) {
                svg.line(0, top + r * height, columns * width, top + r * height, "var(--ground, #fff)", 1, 2);
            }
        }
        return svg.finish();
    }

    private static String name(int mask, boolean[] kept) {
        int count = 0;
        for (boolean one : kept) {
            count += one ? 1 : 0;
        }
        return "mask " + (mask + 1) + ": " + count + " of " + kept.length + " tokens are seen";
    }

    /** The cells of a slot that a mask hides, in a frame at (x, y): a rectangle for every run of them in a row. */
    private static String hidden(
            boolean[] kept, int slot, TokenGrid grid, double x, double y, double width, double height) {
        StringBuilder area = new StringBuilder();
        double cellWidth = width / grid.columns();
        double cellHeight = height / grid.rows();
        for (int r = 0; r < grid.rows(); r++) {
            int row = slot * grid.plane() + r * grid.columns();
            for (int c = 0; c < grid.columns(); ) {
                int from = c;
                while (c < grid.columns() && !kept[row + c]) {
                    c++;
                }
                if (c > from) {
                    String run = Svg.number((c - from) * cellWidth);
                    area.append('M')
                            .append(Svg.number(x + from * cellWidth))
                            .append(' ')
                            .append(Svg.number(y + r * cellHeight))
                            .append('h')
                            .append(run)
                            .append('v')
                            .append(Svg.number(cellHeight))
                            .append("h-")
                            .append(run)
                            .append('z');
                } else {
                    c++;
                }
            }
        }
        return area.toString();
    }

    private static byte[] jpeg(VideoClip clip, int columns, int rows) {
        BufferedImage picture =
                new BufferedImage(columns * clip.width(), rows * clip.height(), BufferedImage.TYPE_INT_RGB);
        byte[] pixels = clip.pixels();
        int at = 0;
        for (int f = 0; f < clip.frames(); f++) {
            for (int y = 0; y < clip.height(); y++) {
                for (int x = 0; x < clip.width(); x++, at += 3) {
                    int colour = ((pixels[at] & 0xFF) << 16) | ((pixels[at + 1] & 0xFF) << 8) | (pixels[at + 2] & 0xFF);
                    picture.setRGB(f % columns * clip.width() + x, f / columns * clip.height() + y, colour);
                }
            }
        }
        ByteArrayOutputStream bytes = new ByteArrayOutputStream();
        ImageWriter writer = ImageIO.getImageWritersByFormatName("jpeg").next();
        try (MemoryCacheImageOutputStream out = new MemoryCacheImageOutputStream(bytes)) {
            writer.setOutput(out);
            ImageWriteParam quality = writer.getDefaultWriteParam();
            quality.setCompressionMode(ImageWriteParam.MODE_EXPLICIT);
            quality.setCompressionQuality(QUALITY);
            writer.write(null, new IIOImage(picture, null, null), quality);
        } catch (IOException e) {
            throw new UncheckedIOException(e);
        } finally {
            writer.dispose();
        }
        return bytes.toByteArray();
    }
}
