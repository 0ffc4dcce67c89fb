package tessera.distill;

import java.io.ByteArrayOutputStream;
import java.io.IOException;
import java.nio.charset.StandardCharsets;
import java.nio.file.Files;
import java.nio.file.Path;
import tessera.nn.inference.VideoClip;

/** A smooth texture that moves as one says, as a clip or a video file. */
public final class MovingVideo {
    private MovingVideo() {}

    /** Where the picture's point (x, y) was in the texture, whatever the time. */
    @FunctionalInterface
    public interface Motion {
        /** The texture's coordinates that are seen at (x, y) in a frame. */
        double[] at(double x, double y, int frame);
    }

    /** A motion of so many pixels to the right and down in each frame. */
    public static Motion steady(double right, double down) {
        return (x, y, frame) -> new double[] {x - frame * right, y - frame * down};
    }

    /** Grey frames, every colour channel the same. */
    public static VideoClip clip(int frames, int size, Motion motion) {
        byte[] pixels = new byte[frames * size * size * 3];
        for (int i = 0; i < pixels.length; i++) {
            int pixel = i / 3 % (size * size);
            int row = pixel / size;
            double[] place = motion.at(pixel % size, row, i / (3 * size * size));
            pixels[i] = (byte) level(place[0], place[1]);
        }
        return new VideoClip(frames, size, size, pixels);
    }

    private static int level(double x, double y) {
        return (int) Math.round(125
                + 40 * Math.sin(.51 * x + .23 * y)
                + 35 * Math.cos(.63 * y - .19 * x + 1)
                + 25 * Math.sin(.31 * x - .77 * y + 2)
                + 20 * Math.cos(.87 * x + .41 * y));
    }

    /** Writes 8 frames a second as uncompressed video (YUV4MPEG2), which FFmpeg knows by its first bytes, whatever the name. */
    public static Path write(Path file, int frames, int size, Motion motion) throws IOException {
        VideoClip clip = clip(frames, size, motion);
        ByteArrayOutputStream out = new ByteArrayOutputStream();
        out.writeBytes(ascii("YUV4MPEG2 W" + size + " H" + size + " F8:1 Ip A1:1 C444\n"));
        for (int frame = 0; frame < frames; frame++) {
            out.writeBytes(ascii("FRAME\n"));
            for (int plane = 0; plane < 3; plane++) {
                for (int i = 0; i < size * size; i++) {
                    out.write(plane == 0 ? clip.pixels()[3 * (frame * size * size + i)] : 128);
                }
            }
        }
        Files.createDirectories(file.getParent());
        return Files.write(file, out.toByteArray());
    }

    private static byte[] ascii(String text) {
        return text.getBytes(StandardCharsets.US_ASCII);
    }
}
