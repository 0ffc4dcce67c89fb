package tessera.distill.egosim;

import java.util.Arrays;
import java.util.List;
import tessera.distill.data.Geometry;

/** Turns the modalities of a clip into RGB pictures for people to look at. Thread-safe. */
public final class Pictures {
    private Pictures() {}

    /** A picture, u8 [height, width, 3]; the array is the caller's. */
    public record Picture(byte[] rgb, int width, int height) {
        /** The picture as a PNG file. */
        public byte[] png() {
            return Png.encode(rgb, width, height);
        }

        /** The picture with every pixel repeated, factor times in both directions. */
        public Picture enlarged(int factor) {
            var out = new byte[rgb.length * factor * factor];
            for (int y = 0; y < height * factor; y++) {
                for (int x = 0; x < width * factor; x++) {
                    System.arraycopy(rgb, 3 * (y / factor * width + x / factor), out, 3 * (y * width * factor + x), 3);
                }
            }
            return new Picture(out, width * factor, height * factor);
        }
    }

    /** A frame as it is. */
    public static Picture frame(Clip clip, Geometry geometry, int t) {
        int bytes = 3 * geometry.size() * geometry.size();
        return new Picture(
                Arrays.copyOfRange(clip.rgb(), t * bytes, (t + 1) * bytes), geometry.size(), geometry.size());
    }

    /** Flow as a colour wheel: hue is direction, saturation is speed up to the given one, in pixels per frame. */
    public static Picture flow(Clip clip, Geometry geometry, int t, double fullSpeed) {
        int size = geometry.size();
        var rgb = new byte[3 * size * size];
        for (int i = 0; i < size * size; i++) {
            int o = 2 * (t * size * size + i);
            double dx = clip.flow()[o];
            double dy = clip.flow()[o + 1];
            double hue = 6 * (Math.atan2(dy, dx) / (2 * Math.PI) + 1);
            colour(rgb, 3 * i, hue, Math.min(1, Math.hypot(dx, dy) / fullSpeed));
        }
        return new Picture(rgb, size, size);
    }

    /** Heat maps in one hue per finger over the darkened frame, or over black for a clip without RGB. */
    public static Picture pose(Clip clip, Geometry geometry, int t) {
        int size = geometry.size();
        int cells = geometry.poseSize();
        var rgb = new byte[3 * size * size];
        var hue = new byte[3];
        for (int y = 0; y < size; y++) {
            for (int x = 0; x < size; x++) {
                int i = 3 * (y * size + x);
                var sum = new double[3];
                if (clip.rgb().length > 0) {
                    for (int k = 0; k < 3; k++) {
                        sum[k] = .45 * (clip.rgb()[3 * t * size * size + i + k] & 255);
                    }
                }
                int cell = t * cells * cells + y * cells / size * cells + x * cells / size;
                for (int j = 0; j < Hand.JOINTS; j++) {
                    float heat = clip.pose()[cell * Hand.JOINTS + j];
                    colour(hue, 0, 6 + (j == 0 ? 0 : 1 + (j - 1) / 4), j == 0 ? 0 : .9);
                    for (int k = 0; k < 3; k++) {
                        sum[k] = Math.max(sum[k], heat * (hue[k] & 255));
                    }
                }
                for (int k = 0; k < 3; k++) {
                    rgb[i + k] = (byte) Math.min(255, sum[k]);
                }
            }
        }
        return new Picture(rgb, size, size);
    }

    /** Pictures of one size side by side, in rows of the given length, with a white gap of two pixels. */
    public static Picture sheet(List<Picture> pictures, int columns) {
        int wide = pictures.getFirst().width() + 2;
        int high = pictures.getFirst().height() + 2;
        int rows = (pictures.size() + columns - 1) / columns;
        int width = columns * wide - 2;
        int height = rows * high - 2;
        var rgb = new byte[3 * width * height];
        Arrays.fill(rgb, (byte) 255);
        for (int p = 0; p < pictures.size(); p++) {
            Picture picture = pictures.get(p);
            for (int y = 0; y < picture.height(); y++) {
                int to = (p / columns * high + y) * width + p % columns * wide;
                System.arraycopy(picture.rgb(), 3 * y * picture.width(), rgb, 3 * to, 3 * picture.width());
            }
        }
        return new Picture(rgb, width, height);
    }

    /** Writes a colour of full value; the hue counts sixths of the wheel from red. */
    private static void colour(byte[] rgb, int offset, double hue, double saturation) {
        for (int k = 0; k < 3; k++) {
            double h = (hue + 5 - 2 * k) % 6;
            rgb[offset + k] = (byte) (255 * (1 - saturation * Math.clamp(Math.min(h, 4 - h), 0, 1)));
        }
    }
}
