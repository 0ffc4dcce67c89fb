package tessera.nn.inference;

import java.awt.color.ColorSpace;
import java.awt.image.BufferedImage;
import java.awt.image.ColorModel;
import java.awt.image.DataBuffer;
import java.awt.image.IndexColorModel;
import java.awt.image.Raster;
import java.util.List;

/** Pictures of the JDK as frames; apart from the rest, which works without {@code java.desktop}. Thread-safe. */
public final class Pictures {
    private static final int ALL_ONES = 255;

    private Pictures() {}

    /**
     * The pixels of a picture of any kind, u8 {@code [height, width, 3]} in RGB order. They are the numbers that the file had, as other
     * programs take them and decoders of videos give them: {@link BufferedImage#getRGB} would make grey ones lighter, whose numbers it takes for
     * amounts of light, and change colours by the profile of a screen. Transparency is not looked at.
     */
    public static byte[] pixels(BufferedImage picture) {
        byte[] pixels = new byte[Math.multiplyExact(3, Math.multiplyExact(picture.getHeight(), picture.getWidth()))];
        copy(picture, pixels);
        return pixels;
    }

    /** The chosen pictures, each resized on its own. */
    static VideoClip resized(List<BufferedImage> pictures, long[] chosen, int height, int width) {
        int length = 3 * height * width;
        byte[] pixels = new byte[Math.multiplyExact(chosen.length, length)];
        for (int k = 0; k < chosen.length; k++) {
            VideoClip frame = ImageOps.resize(frame(pictures.get(Math.toIntExact(chosen[k]))), height, width, true);
            System.arraycopy(frame.pixels(), 0, pixels, k * length, length);
        }
        return new VideoClip(chosen.length, height, width, pixels);
    }

    private static VideoClip frame(BufferedImage picture) {
        return new VideoClip(1, picture.getHeight(), picture.getWidth(), pixels(picture));
    }

    /** Writes a picture as u8 {@code [height, width, 3]}. */
    static void copy(BufferedImage picture, byte[] pixels) {
        if (isConvertedByJava(picture)) {
            copyStored(picture.getRaster(), pixels);
            return;
        }
        int width = picture.getWidth();
        int[] row = new int[width];
        int at = 0;
        for (int y = 0; y < picture.getHeight(); y++) {
            picture.getRGB(0, y, width, 1, row, 0, width);
            for (int colour : row) {
                pixels[at++] = (byte) (colour >> 16);
                pixels[at++] = (byte) (colour >> 8);
                pixels[at++] = (byte) colour;
            }
        }
    }

    /** Whether Java takes the numbers of a file, grey ones or of a profile, for others than those of a screen. */
    private static boolean isConvertedByJava(BufferedImage picture) {
        ColorModel model = picture.getColorModel();
        ColorSpace space = model.getColorSpace();
        int type = picture.getRaster().getTransferType();
        boolean whole = type == DataBuffer.TYPE_BYTE || type == DataBuffer.TYPE_USHORT;
        boolean profile = space.getType() == ColorSpace.TYPE_RGB
                && !space.isCS_sRGB()
                && !space.equals(ColorSpace.getInstance(ColorSpace.CS_LINEAR_RGB)); // amounts of light indeed
        return whole
                && !(model instanceof IndexColorModel)
                && !model.isAlphaPremultiplied()
                && (profile || space.getType() == ColorSpace.TYPE_GRAY);
    }

    private static void copyStored(Raster raster, byte[] pixels) {
        int width = raster.getWidth();
        int[] row = new int[width];
        for (int channel = 0; channel < 3; channel++) {
            int band = raster.getNumBands() < 3 ? 0 : channel; // grey, or grey with transparency
            int most = (1 << raster.getSampleModel().getSampleSize(band)) - 1;
            for (int y = 0; y < raster.getHeight(); y++) {
                raster.getSamples(raster.getMinX(), raster.getMinY() + y, width, 1, band, row);
                for (int x = 0; x < width; x++) {
                    pixels[3 * (y * width + x) + channel] = (byte) ((ALL_ONES * row[x] + most / 2) / most);
                }
            }
        }
    }
}
