package tessera.kernels.cuda;

import static org.junit.jupiter.api.Assertions.assertThrows;

import org.junit.jupiter.api.Tag;
import org.junit.jupiter.api.Test;
import org.junit.jupiter.params.ParameterizedTest;
import org.junit.jupiter.params.provider.CsvSource;
import tessera.FakeCuda;
import tessera.kernels.Buffer;
import tessera.kernels.DType;
import tessera.kernels.Device;
import tessera.kernels.Kernels;
import tessera.kernels.Patches.PatchGeometry;
import tessera.kernels.Patches.PatchTarget;

/** Patches of videos on a GPU against the CPU. */
@Tag(FakeCuda.TAG)
@Tag(FakeCuda.EXACT)
class CudaPatchesTest extends OnGpuAndCpu {
    private static Buffer somePatches(Memory memory, PatchGeometry g, int count) {
        int n = Math.toIntExact(g.batch() * count);
        return memory.fill(DType.I32, n, i -> memory.random.nextInt(g.patches()));
    }

    @ParameterizedTest
    @CsvSource({
        "1,1,1,1,1,1",
        "2,2,2,3,3,16",
        "1,1,2,2,3,8",
        "2,1,2,1,2,5",
        "1,2,1,2,4,4",
        "3,1,1,2,1,12",
        "1,1,1,1,16,3"
    })
    void patches(int batch, int slots, int high, int wide, int channels, int patch) {
        for (boolean last : new boolean[] {false, true}) {
            PatchGeometry g = geometry(batch, slots, high, wide, channels, patch, last);
            int length = g.patchLength();
            for (boolean bytes : new boolean[] {false, true}) {
                check((kernels, memory) -> {
                    Buffer video = video(memory, g, bytes);
                    kernels.patches()
                            .gatherPatches(g, video, null, g.patches(), memory.output(batch * g.patches() * length));
                    Buffer some = somePatches(memory, g, 5);
                    kernels.patches().gatherPatches(g, video, some, 5, memory.output(batch * 5 * length));
                    for (boolean normalise : new boolean[] {false, true}) {
                        Buffer target = memory.output(batch * 5 * length);
                        kernels.patches()
                                .reconstructionTarget(new PatchTarget(g, 5, 1e-6, normalise), video, some, target);
                    }
                });
            }
            check((kernels, memory) -> {
                Buffer all = memory.fill(memory.wide, (int) (batch * g.strideB()), i -> i % 7);
                kernels.patches()
                        .scatterPatches(
                                g, memory.normal(batch * 6 * length), somePatches(memory, g, 6), 6, memory.output(all));
                Buffer some = memory.fill(memory.wide, (int) (batch * g.strideB()), i -> -i % 5);
                Buffer dout = memory.normal(batch * g.patches() * length);
                kernels.patches().scatterPatches(g, dout, null, g.patches(), memory.output(some));
            });
        }
    }

    @ParameterizedTest
    @CsvSource({"5,6,7,3,4", "2,8,5,1,4", "3,4,4,2,4", "1,9,16,3,8", "1,1,1,1,16"})
    void patchesBeyondTheEnd(int frames, int height, int width, int channels, int patch) {
        for (boolean last : new boolean[] {false, true}) {
            PatchGeometry whole = geometry(2, 1, 1, 1, channels, patch, last);
            long pixel = last ? channels : 1;
            long plane = (long) height * width * pixel;
            PatchGeometry g = new PatchGeometry(
                    2,
                    frames,
                    height,
                    width,
                    channels,
                    whole.tubelet(),
                    patch,
                    (long) frames * height * width * channels,
                    plane,
                    width * pixel,
                    pixel,
                    last ? 1 : frames * plane,
                    whole.scale(),
                    whole.mean(),
                    whole.std());
            int length = g.patchLength();
            for (boolean bytes : new boolean[] {false, true}) {
                check((kernels, memory) -> {
                    Buffer video = video(memory, g, bytes);
                    kernels.patches()
                            .gatherPatches(g, video, null, g.patches(), memory.output(2 * g.patches() * length));
                    kernels.patches()
                            .gatherPatches(g, video, somePatches(memory, g, 5), 5, memory.output(2 * 5 * length));
                });
            }
            check((kernels, memory) -> {
                Buffer dvideo = memory.fill(memory.wide, (int) (2 * g.strideB()), i -> i % 7);
                kernels.patches()
                        .scatterPatches(
                                g, memory.normal(2 * 6 * length), somePatches(memory, g, 6), 6, memory.output(dvideo));
            });
        }
    }

    @Test
    void onlyWholePatchesAreReconstructed() {
        PatchGeometry g = geometry(1, 1, 1, 1, 1, 4, true);
        PatchGeometry longer = new PatchGeometry(
                1, g.frames() + 1, 4, 4, 1, 2, 4, 16L * (g.frames() + 1), 16, 4, 1, 1, 1, g.mean(), g.std());
        PatchTarget target = new PatchTarget(longer, 1, 1e-6, true);
        Kernels kernels = Device.cuda(0).kernels();
        try (Memory memory = new Memory(Device.cuda(0), DType.F32, DType.F32, DType.F32, 0)) {
            Buffer video = memory.normal(Math.toIntExact(longer.strideB()));
            Buffer first = memory.indices(0);
            Buffer patch = memory.normal(longer.patchLength());
            assertThrows(
                    IllegalArgumentException.class,
                    () -> kernels.patches().reconstructionTarget(target, video, first, patch));
            assertThrows(
                    IllegalArgumentException.class,
                    () -> kernels.patches().reconstructionLoss(target, video, first, patch, memory.output(1), null));
        }
    }

    @Test
    void patchesWithMoreThan512PixelsAChannel() {
        PatchGeometry g = geometry(1, 1, 1, 2, 3, 20, true);
        check((kernels, memory) -> {
            Buffer target = memory.output(2 * g.patchLength());
            kernels.patches()
                    .reconstructionTarget(
                            new PatchTarget(g, 2, 1e-6, true), video(memory, g, true), memory.indices(1, 0), target);
        });
    }
}
