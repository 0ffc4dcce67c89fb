package tessera.nn.inference;

import static java.util.Objects.requireNonNull;
import static org.junit.jupiter.api.Assertions.assertArrayEquals;
import static org.junit.jupiter.api.Assertions.assertEquals;

import java.awt.color.ColorSpace;
import java.awt.image.BufferedImage;
import java.awt.image.ColorModel;
import java.awt.image.ComponentColorModel;
import java.awt.image.DataBuffer;
import java.awt.image.IndexColorModel;
import java.awt.image.WritableRaster;
import java.io.ByteArrayInputStream;
import java.io.ByteArrayOutputStream;
import java.io.IOException;
import javax.imageio.ImageIO;
import org.junit.jupiter.api.Test;
import org.junit.jupiter.params.ParameterizedTest;
import org.junit.jupiter.params.provider.ValueSource;
import tessera.Close;

/** Pixels of pictures of every kind are the numbers that their files have, as other programs take them. */
class PicturesTest {
    private static final int[] LEVELS = {0, 1, 16, 100, 128, 200, 254, 255};

    private static BufferedImage again(BufferedImage picture, String format) throws IOException {
        ByteArrayOutputStream file = new ByteArrayOutputStream();
        ImageIO.write(picture, format, file);
        return requireNonNull(ImageIO.read(new ByteArrayInputStream(file.toByteArray())));
    }

    private static byte[] greys() {
        byte[] pixels = new byte[3 * LEVELS.length];
        for (int i = 0; i < pixels.length; i++) {
            pixels[i] = (byte) LEVELS[i / 3];
        }
        return pixels;
    }

    @ParameterizedTest
    @ValueSource(ints = {BufferedImage.TYPE_BYTE_GRAY, BufferedImage.TYPE_USHORT_GRAY})
    void greyIsNoAmountOfLight(int type) throws IOException {
        BufferedImage picture = new BufferedImage(LEVELS.length, 1, type);
        for (int x = 0; x < LEVELS.length; x++) {
            int level = type == BufferedImage.TYPE_USHORT_GRAY ? 257 * LEVELS[x] : LEVELS[x];
            picture.getRaster().setSample(x, 0, 0, level);
        }
        assertArrayEquals(greys(), Pictures.pixels(picture));
        assertArrayEquals(greys(), Pictures.pixels(again(picture, "png")));
        BufferedImage part = picture.getSubimage(3, 0, 2, 1);
        assertArrayEquals(new byte[] {100, 100, 100, (byte) 128, (byte) 128, (byte) 128}, Pictures.pixels(part));
    }

    @Test
    void greyWithTransparencyIsGrey() throws IOException {
        ColorModel model = new ComponentColorModel(
                ColorSpace.getInstance(ColorSpace.CS_GRAY), true, false, 3, DataBuffer.TYPE_BYTE);
        WritableRaster raster = model.createCompatibleWritableRaster(LEVELS.length, 1);
        for (int x = 0; x < LEVELS.length; x++) {
            raster.setPixel(x, 0, new int[] {LEVELS[x], x % 2 == 0 ? 255 : 7});
        }
        BufferedImage picture = new BufferedImage(model, raster, false, null);
        assertArrayEquals(greys(), Pictures.pixels(picture));
        assertArrayEquals(greys(), Pictures.pixels(again(picture, "png")));
    }

    @Test
    void aProfileChangesNothing() throws IOException {
        ColorModel model = new ComponentColorModel(
                ColorSpace.getInstance(ColorSpace.CS_LINEAR_RGB), false, false, 1, DataBuffer.TYPE_BYTE);
        BufferedImage picture = new BufferedImage(model, model.createCompatibleWritableRaster(16, 16), false, null);
        for (int i = 0; i < 256; i++) {
            picture.getRaster().setPixel(i % 16, i / 16, new int[] {60, 60, 60});
        }
        BufferedImage stored = again(picture, "jpg");
        assertEquals(ColorSpace.TYPE_RGB, stored.getColorModel().getColorSpace().getType());
        byte[] pixels = Pictures.pixels(stored);
        Close.within(pixels[3 * 100] & 0xFF, 60, 1, "as JPEG with a profile");
        // An application's own picture whose numbers are amounts of light is converted.
        assertEquals(picture.getRGB(4, 4) & 0xFF, Pictures.pixels(picture)[2] & 0xFF);
    }

    @ParameterizedTest
    @ValueSource(
            ints = {
                BufferedImage.TYPE_INT_RGB,
                BufferedImage.TYPE_INT_ARGB,
                BufferedImage.TYPE_INT_ARGB_PRE,
                BufferedImage.TYPE_3BYTE_BGR,
                BufferedImage.TYPE_4BYTE_ABGR
            })
    void coloursAreThoseOfThePicture(int type) throws IOException {
        BufferedImage picture = new BufferedImage(2, 1, type);
        picture.setRGB(0, 0, 0xFF010203);
        picture.setRGB(1, 0, 0xFFC86432);
        byte[] expected = {1, 2, 3, (byte) 200, 100, 50};
        assertArrayEquals(expected, Pictures.pixels(picture));
        assertArrayEquals(expected, Pictures.pixels(again(picture, "png")));
    }

    @Test
    void aPaletteIsLookedUp() throws IOException {
        byte[] red = {9, (byte) 200};
        byte[] green = {8, 100};
        byte[] blue = {7, 50};
        BufferedImage picture =
                new BufferedImage(2, 1, BufferedImage.TYPE_BYTE_INDEXED, new IndexColorModel(8, 2, red, green, blue));
        picture.getRaster().setSample(1, 0, 0, 1);
        byte[] expected = {9, 8, 7, (byte) 200, 100, 50};
        assertArrayEquals(expected, Pictures.pixels(picture));
        assertArrayEquals(expected, Pictures.pixels(again(picture, "png")));
    }
}
