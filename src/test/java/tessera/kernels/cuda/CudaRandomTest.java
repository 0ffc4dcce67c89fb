package tessera.kernels.cuda;

import java.util.List;
import org.junit.jupiter.api.Tag;
import org.junit.jupiter.params.ParameterizedTest;
import org.junit.jupiter.params.provider.CsvSource;
import org.junit.jupiter.params.provider.ValueSource;
import tessera.FakeCuda;
import tessera.kernels.Buffer;
import tessera.kernels.DType;
import tessera.kernels.RandomOps.MaskShape;
import tessera.kernels.RandomOps.RandomStream;

/** Random numbers and masks on a GPU against the CPU. */
@Tag(FakeCuda.TAG)
@Tag(FakeCuda.EXACT)
class CudaRandomTest extends OnGpuAndCpu {
    @ParameterizedTest
    @ValueSource(ints = {0, 1, 3, 4, 9, 1027, 5000})
    void uniformNumbersAreTheSameOnEveryDevice(int n) {
        checkExactly(FLOATING, (kernels, memory) -> {
            kernels.random().randomUniform(new RandomStream(5, 3), 0, 1, memory.output(n));
            kernels.random()
                    .randomUniform(new RandomStream(-1L << 40 | 7, Long.MIN_VALUE + 9), -.3, Math.PI, memory.output(n));
            kernels.random().randomUniform(new RandomStream(1, 2), 1, Math.nextUp(1f), memory.output(n));
        });
    }

    @ParameterizedTest
    @CsvSource({"0,.5", "1,.5", "7,.1", "4099,.9", "4096,0", "9001,.3"})
    void dropoutKeepsTheSameElementsOnEveryDevice(int n, double p) {
        check((kernels, memory) -> {
            Buffer x = memory.data(n, i -> 1 + Math.abs(memory.random.nextGaussian()));
            kernels.random().dropout(new RandomStream(17, 4), x, p, memory.output(n));
            kernels.random().dropout(new RandomStream(17, 5), x, p, memory.output(x));
        });
    }

    @ParameterizedTest
    @CsvSource({
        "1,1,1,0",
        "1,1,1,1",
        "2,3,7,3",
        "3,8,196,176",
        "2,2,196,98",
        "1,2,4096,3000",
        "1,1,5000,1234",
        "2,2,300,300",
        "0,2,9,3",
        "1,4,257,256"
    })
    void masksAreTheSameOnEveryDevice(int batch, int slots, int plane, int masked) {
        checkExactly(List.of(DType.I32), (kernels, memory) -> {
            for (boolean tube : new boolean[] {true, false}) {
                Buffer visible = memory.output(batch * slots * (plane - masked));
                Buffer hidden = memory.output(batch * slots * masked);
                kernels.random()
                        .randomMask(
                                new RandomStream(99, 6),
                                new MaskShape(batch, slots, plane, masked, tube),
                                visible,
                                hidden);
                Buffer alone = memory.output(batch * slots * (plane - masked));
                kernels.random()
                        .randomMask(
                                new RandomStream(99, 6), new MaskShape(batch, slots, plane, masked, tube), alone, null);
            }
        });
    }
}
