package tessera.jmh;

import java.lang.foreign.MemorySegment;
import java.lang.foreign.ValueLayout;
import java.util.SplittableRandom;
import tessera.kernels.DType;
import tessera.kernels.Device;
import tessera.nn.Params;
import tessera.nn.inference.Student;
import tessera.nn.swin.SwinConfig;
import tessera.nn.videomae.VideoMaeClassifier;
import tessera.nn.videomae.VideoMaeConfig;
import tessera.tensor.Patches;
import tessera.tensor.Shape;
import tessera.tensor.Tensor;

/** What benchmarks run: models for clips of 16 x 224 x 224 with random weights, and random pixels for them. */
public final class Models {
    /** Patches of ViT-S; pixels are normalised as the published models have them. */
    public static final Patches RGB =
            new Patches(3, 2, 16, 1 / 255.0, new double[] {.485, .456, .406}, new double[] {.229, .224, .225});

    private Models() {}

    /** ViT-S. */
    public static VideoMaeConfig small() {
        return VideoMaeConfig.of("small", RGB);
    }

    /** Swin3D-T as published. */
    public static SwinConfig swin() {
        return SwinConfig.tiny(RGB.channels(), RGB.scale(), RGB.mean(), RGB.std(), 16, 224, 224);
    }

    /** A ViT-S on the CPU, which belongs to the caller; equal seeds give equal weights. */
    static Student student(long seed, DType compute) {
        Params params = Params.random(Device.cpu(), DType.F32, seed);
        new VideoMaeClassifier(params, small(), 0).close();
        Student student = Student.of(params.all(), small(), Device.cpu(), compute);
        params.all().values().forEach(Tensor::close);
        return student;
    }

    /** Clips of u8 pixels on the CPU, the same each time, which belong to the caller. */
    public static Tensor pixels(long... sizes) {
        Tensor clips = Tensor.empty(Device.cpu(), DType.U8, Shape.of(sizes));
        fill(clips.segment());
        return clips;
    }

    /** Fills u8 pixels, with the same numbers each time. */
    static void fill(MemorySegment pixels) {
        SplittableRandom random = new SplittableRandom(7);
        for (long i = 0; i < pixels.byteSize(); i++) {
            pixels.set(ValueLayout.JAVA_BYTE, i, (byte) random.nextInt(256));
        }
    }
}
