package tessera.nn.inference;

import java.awt.image.BufferedImage;
import java.util.List;

/** Pictures of the JDK as frames; apart from the rest, which works without {@code java.desktop}. */
final class Pictures {
    private Pictures() {}

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
        byte[] pixels = new byte[Math.multiplyExact(3, Math.multiplyExact(picture.getHeight(), picture.getWidth()))];
        copy(picture, pixels);
        return new VideoClip(1, picture.getHeight(), picture.getWidth(), pixels);
    }

    /** Writes a picture as u8 {@code [height, width, 3]}. */
    static void copy(BufferedImage picture, byte[] pixels) {
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
}
