package tessera.distill.video;

import org.bytedeco.javacpp.FloatPointer;
import org.bytedeco.javacpp.Loader;
import org.bytedeco.opencv.global.opencv_core;
import org.bytedeco.opencv.opencv_core.Mat;
import org.bytedeco.opencv.opencv_video.DISOpticalFlow;
import tessera.nn.inference.VideoClip;

/** Flow by OpenCV. */
final class DisFlow implements OpticalFlow {

    DisFlow() {
        try {
            // With several threads OpenCV searches in stripes, and results depend on their number.
            opencv_core.setNumThreads(1);
        } catch (LinkageError | IllegalCallerException e) {
            // Allowed by an option, or with a warning at the first use; else it was denied.
            throw new IllegalStateException(
                    "optical flow needs OpenCV, which cannot be loaded here "
                            + (!Loader.class.getModule().isNativeAccessEnabled()
                                    ? "as native access is not enabled; start Java with --enable-native-access="
                                            + "org.bytedeco.javacpp,org.bytedeco.opencv (ALL-UNNAMED on the class path)"
                                    : "(" + e.getMessage() + "); it comes with tessera-distill for Linux on x86-64."
                                            + " Elsewhere, give flow of your own"),
                    e);
        }
    }

    @Override
    public float[] of(VideoClip clip) {
        int height = clip.height();
        int width = clip.width();
        if (clip.frames() < 2 || height < SMALLEST || width < SMALLEST) {
            throw new IllegalArgumentException("flow: a clip of " + clip.frames() + " frames of " + height + " x "
                    + width + " pixels; give 2 frames or more, of at least " + SMALLEST + " x " + SMALLEST);
        }
        int length = 2 * height * width;
        float[] flow = new float[Math.multiplyExact(clip.frames(), length)];
        try (DISOpticalFlow search = DISOpticalFlow.create(DISOpticalFlow.PRESET_MEDIUM);
                Mat first = new Mat(height, width, opencv_core.CV_8UC1);
                Mat second = new Mat(height, width, opencv_core.CV_8UC1);
                Mat motion = new Mat()) {
            search.setFinestScale(0);
            Mat from = first;
            Mat to = second;
            write(clip, 0, from);
            for (int frame = 1; frame < clip.frames(); frame++) {
                write(clip, frame, to);
                search.calc(from, to, motion);
                try (FloatPointer values = new FloatPointer(motion.data())) {
                    values.get(flow, (frame - 1) * length, length);
                }
                Mat spare = from;
                from = to;
                to = spare;
            }
        }
        System.arraycopy(flow, flow.length - 2 * length, flow, flow.length - length, length);
        return flow;
    }

    /** A frame's luma as ITU-R BT.601 weighs colours. */
    private static void write(VideoClip clip, int frame, Mat to) {
        byte[] pixels = clip.pixels();
        byte[] grey = new byte[clip.height() * clip.width()];
        for (int i = 0, at = 3 * frame * grey.length; i < grey.length; i++, at += 3) {
            int weighed = 299 * (pixels[at] & 0xFF) + 587 * (pixels[at + 1] & 0xFF) + 114 * (pixels[at + 2] & 0xFF);
            grey[i] = (byte) ((weighed + 500) / 1000);
        }
        to.data().put(grey);
    }
}
