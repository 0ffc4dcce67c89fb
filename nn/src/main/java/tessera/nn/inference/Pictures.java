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
        int height = picture.getHeight();
        int width = picture.getWidth();
        int[] colours = picture.getRGB(0, 0, width, height, null, 0, width);
        byte[] pixels = new byte[Math.multiplyExact(3, colours.length)];
        for (int i = 0; i < colours.length; i++) {
            pixels[3 * i] = (byte) (colours[i] >> 16);
            pixels[3 * i + 1] = (byte) (colours[i] >> 8);
            pixels[3 * i + 2] = (byte) colours[i];
        }
        return new VideoClip(1, height, width, pixels);
    }
}
