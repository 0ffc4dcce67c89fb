package tessera.nn.inference;

import static java.util.Objects.requireNonNull;
import static org.junit.jupiter.api.Assertions.assertArrayEquals;
import static org.junit.jupiter.api.Assertions.assertEquals;
import static org.junit.jupiter.api.Assertions.assertNotEquals;
import static org.junit.jupiter.api.Assertions.assertThrows;
import static org.junit.jupiter.api.Assertions.assertTrue;

import java.util.HashSet;
import java.util.Set;
import org.junit.jupiter.api.Test;
import tessera.Close;

class ImageOpsTest {
    /** An image of 5 x 7 pixels whose resized values Pillow 12.3 has given. */
    private static VideoClip sample() {
        byte[] pixels = new byte[5 * 7 * 3];
        int at = 0;
        for (int y = 0; y < 5; y++) {
            for (int x = 0; x < 7; x++) {
                for (int c = 0; c < 3; c++) {
                    pixels[at++] = (byte) (37 * y + 91 * x + 53 * c + x * y * c * 17);
                }
            }
        }
        return new VideoClip(1, 5, 7, pixels);
    }

    private static int[] values(VideoClip clip) {
        int[] values = new int[clip.pixels().length];
        for (int i = 0; i < values.length; i++) {
            values[i] = clip.pixels()[i] & 0xFF;
        }
        return values;
    }

    @Test
    void antialiasedResizeEqualsPillow() {
        int[] smaller = {100, 140, 118, 109, 135, 104, 128, 156, 105, 136, 134, 178, 112, 137, 131, 109, 168, 129};
        assertArrayEquals(smaller, values(ImageOps.resize(sample(), 2, 3, true)));
        int[] firstRowOfLower = {
            9, 62, 115, 70, 126, 139, 140, 171, 110, 154, 167, 66, 26, 92, 94, 97, 117, 171, 168, 177, 106, 153, 186,
            70, 43, 122, 136
        };
        int[] lowerAndWider = values(ImageOps.resize(sample(), 4, 9, true));
        for (int i = 0; i < firstRowOfLower.length; i++) {
            assertEquals(firstRowOfLower[i], lowerAndWider[i], "value " + i);
        }
    }

    @Test
    void withoutAntialiasTwoPixelsDecide() {
        byte[] row = new byte[3 * 8];
        for (int x = 0; x < 8; x++) {
            row[3 * x] = row[3 * x + 1] = row[3 * x + 2] = (byte) (x == 0 ? 200 : 0);
        }
        VideoClip clip = new VideoClip(1, 1, 8, row);
        // Output 0 of 2 looks at input 1.5: pixels 1 and 2, not the bright pixel 0.
        assertEquals(0, values(ImageOps.resize(clip, 1, 2, false))[0]);
        assertTrue(values(ImageOps.resize(clip, 1, 2, true))[0] > 20, "antialias sees every pixel");
    }

    @Test
    void sizesThatStayKeepEveryValue() {
        assertArrayEquals(
                sample().pixels(), ImageOps.resize(sample(), 5, 7, true).pixels());
    }

    @Test
    void resizeOfARectangleEqualsCropThenResize() {
        CropBox box = new CropBox(1, 2, 3, 4);
        assertArrayEquals(
                ImageOps.resize(ImageOps.crop(sample(), box), 6, 5, true).pixels(),
                ImageOps.resize(sample(), box, 6, 5, true).pixels());
        assertEquals(values(sample())[3 * (1 * 7 + 2)], values(ImageOps.crop(sample(), box))[0]);
    }

    @Test
    void flippingExchangesLeftAndRightAndTwiceChangesNothing() {
        VideoClip flipped = ImageOps.flip(sample());
        assertEquals(values(sample())[3 * 6 + 1], values(flipped)[1]);
        assertArrayEquals(sample().pixels(), ImageOps.flip(flipped).pixels());
    }

    @Test
    void everyFrameOfAClipGetsTheSameCropAndFlip() {
        byte[] one = sample().pixels();
        byte[] twice = new byte[2 * one.length];
        System.arraycopy(one, 0, twice, 0, one.length);
        System.arraycopy(one, 0, twice, one.length, one.length);
        for (long seed = 0; seed < 20; seed++) {
            VideoClip out = ImageOps.trainTransform(new VideoClip(2, 5, 7, twice), 4, seed);
            byte[] alone = ImageOps.trainTransform(sample(), 4, seed).pixels();
            for (int i = 0; i < out.pixels().length; i++) {
                assertEquals(alone[i % alone.length], out.pixels()[i], "seed " + seed + ", value " + i);
            }
        }
    }

    @Test
    void randomCropsStayInsideAndFollowTheirDistribution() {
        int draws = 4000;
        double area = 0;
        Set<CropBox> distinct = new HashSet<>();
        for (long seed = 0; seed < draws; seed++) {
            CropBox box = CropBox.random(400, 400, seed);
            assertTrue(box.top() + box.height() <= 400 && box.left() + box.width() <= 400, box.toString());
            double ratio = (double) box.width() / box.height();
            assertTrue(ratio > 0.74 && ratio < 1.35, "ratio " + ratio);
            area += box.height() * box.width() / 160_000.0 / draws;
            distinct.add(box);
        }
        // Area a and ratio exp(u) fit where a <= exp(-|u|), so the mean is E[exp(-2|u|) - .08^2] / 2 / E[exp(-|u|) -
        // .08].
        double widest = Math.log(4.0 / 3);
        double once = (1 - Math.exp(-widest)) / widest;
        double twice = (1 - Math.exp(-2 * widest)) / (2 * widest);
        Close.within(area, (twice - 0.08 * 0.08) / 2 / (once - 0.08), 0.015, "mean area of the crops");
        assertTrue(distinct.size() > draws * 0.99, "seeds give different crops");
        assertEquals(CropBox.random(400, 400, 7), CropBox.random(400, 400, 7));
        assertNotEquals(CropBox.random(400, 400, 7), CropBox.random(400, 400, 8));
    }

    @Test
    void aStripTooNarrowForAnyDrawGetsItsMiddle() {
        CropBox box = CropBox.random(10, 1000, 0.9, 1, 3.0 / 4, 4.0 / 3, 1);
        assertEquals(new CropBox(0, (1000 - 13) / 2, 10, 13), box);
    }

    @Test
    void rectanglesOutsideAreRefused() {
        var refused =
                assertThrows(IllegalArgumentException.class, () -> ImageOps.crop(sample(), new CropBox(3, 0, 3, 2)));
        assertTrue(requireNonNull(refused.getMessage()).contains("5 x 7"), refused.getMessage());
        assertThrows(IllegalArgumentException.class, () -> new VideoClip(1, 2, 2, new byte[5]));
        assertThrows(IllegalArgumentException.class, () -> ImageOps.resize(sample(), 0, 4, true));
    }
}
