package tessera.nn;

/**
 * The clips a model takes, {@code [batch, frames, height, width, channels]}.
 *
 * @param frames frames of a clip
 * @param height pixels
 * @param width pixels
 * @param channels values of a pixel: 3 for RGB
 */
public record ClipShape(int frames, int height, int width, int channels) {}
