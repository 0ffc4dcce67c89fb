package tessera.distill.video;

import org.jspecify.annotations.Nullable;
import tessera.nn.inference.ImageOps;
import tessera.nn.inference.VideoClip;

/** The pictures of a folder as frames, equally long, each resized as FFmpeg does it: bilinear, widened when shrinking. */
final class PictureFrames implements FrameSource {
    private final PictureFolder pictures;
    private final DecodeOptions options;
    private int next;

    /**
     * @param options with a size
     * @param from the first picture that is wanted
     */
    PictureFrames(PictureFolder pictures, DecodeOptions options, int from) {
        this.pictures = pictures;
        this.options = options;
        this.next = from;
    }

    @Override
    public @Nullable Frame next() {
        if (next >= pictures.size()) {
            return null;
        }
        PictureFolder.Picture picture = pictures.colours(next);
        byte[] pixels = new byte[picture.values().length];
        for (int i = 0; i < pixels.length; i++) {
            pixels[i] = (byte) picture.values()[i]; // whole numbers from 0 to 255
        }
        VideoClip frame = new VideoClip(1, picture.height(), picture.width(), pixels);
        if (frame.height() != options.height() || frame.width() != options.width()) {
            frame = ImageOps.resize(frame, options.height(), options.width(), true);
        }
        return new Frame(frame.pixels(), next++ / options.pictureRate(), 1 / options.pictureRate());
    }

    @Override
    public void close() {
        next = pictures.size();
    }
}
