package tessera.kernels.cuda;

import static org.junit.jupiter.api.Assertions.assertArrayEquals;
import static org.junit.jupiter.api.Assumptions.abort;
import static org.junit.jupiter.api.Assumptions.assumeFalse;
import static org.junit.jupiter.api.Assumptions.assumeTrue;

import java.lang.foreign.ValueLayout;
import java.util.Arrays;
import java.util.Random;
import java.util.stream.DoubleStream;
import org.junit.jupiter.api.AfterEach;
import org.junit.jupiter.api.BeforeEach;
import org.junit.jupiter.api.Tag;
import org.junit.jupiter.api.Test;
import org.junit.jupiter.params.ParameterizedTest;
import org.junit.jupiter.params.provider.EnumSource;
import tessera.Close;
import tessera.FakeCuda;
import tessera.kernels.Attention.AttentionShape;
import tessera.kernels.Attention.AttentionTensors;
import tessera.kernels.Attention.Strides;
import tessera.kernels.Buffer;
import tessera.kernels.DType;
import tessera.kernels.Device;
import tessera.kernels.DeviceException;
import tessera.kernels.Elementwise.Strided;
import tessera.kernels.Kernels;
import tessera.kernels.Matmul.Batch;
import tessera.kernels.Matmul.MatmulShape;
import tessera.kernels.Patches.PatchGeometry;
import tessera.kernels.Tokens.TokenShape;
import tessera.kernels.cpu.Elements;
import tessera.kernels.cpu.HostMemory;
import tessera.tensor.TestDevices;

/**
 * Offsets beyond what 32 bits count: the same small data near and far apart give the same bits. Only what is touched takes
 * memory on the fake device; a real one may be too small.
 */
@Tag(FakeCuda.TAG)
class CudaLargeIndexTest {
    private static final long FAR = (1L << 32) + 48;

    private Device device;
    private Kernels kernels;

    @BeforeEach
    void roomEnough() {
        assumeFalse(TestDevices.cuda().isEmpty(), FakeCuda::absence);
        assumeTrue(!HostMemory.DEBUG, "memory is filled in this process");
        device = Device.cuda(0);
        kernels = device.kernels();
        if (FakeCuda.present()) {
            FakeCuda.set("memory", 1L << 40);
        }
    }

    @AfterEach
    void giveBack() {
        if (device != null) {
            device.trim();
            if (FakeCuda.present()) {
                FakeCuda.reset();
            }
        }
    }

    /** Parts of normal values, each {@code distance} elements after the one before. */
    private Buffer spread(DType dtype, long distance, int parts, int length) {
        Random random = new Random(3);
        Buffer whole;
        try {
            whole = device.allocate(dtype, (parts - 1) * distance + length);
        } catch (DeviceException e) {
            return abort(String.valueOf(e.getMessage()));
        }
        for (int part = 0; part < parts; part++) {
            try (Buffer host = Device.cpu().allocate(dtype, length)) {
                for (int i = 0; i < length; i++) {
                    if (dtype == DType.U8) {
                        host.segment().set(ValueLayout.JAVA_BYTE, i, (byte) random.nextInt(256));
                    } else {
                        Elements.set(host, i, random.nextGaussian());
                    }
                }
                host.copyTo(whole.slice(part * distance, length));
            }
        }
        return whole;
    }

    private Buffer index(int value) {
        Buffer index = device.allocate(DType.I32, 1);
        kernels.elementwise().fill(index, value);
        return index;
    }

    private static double[] values(Buffer x, long from, int length) {
        double[] values = new double[length];
        try (Buffer host = Device.cpu().allocate(x.dtype(), length)) {
            x.slice(from, length).copyTo(host);
            for (int i = 0; i < length; i++) {
                values[i] = Elements.get(host, i);
            }
        }
        return values;
    }

    /** What a computation on parts at this distance gives. */
    private interface Apart {
        double[] run(long distance);
    }

    private static void same(long near, Apart computation) {
        assertArrayEquals(computation.run(near), computation.run(FAR));
    }

    @ParameterizedTest
    @EnumSource(
            value = DType.class,
            names = {"F32", "BF16"})
    void rows(DType dtype) {
        same(8, distance -> {
            int last = Math.toIntExact(distance / 8);
            try (Buffer x = spread(dtype, distance, 2, 8);
                    Buffer index = index(last);
                    Buffer y = device.allocate(dtype, 8)) {
                kernels.tokens().gatherRows(new TokenShape(1, last + 1L, 1, 8), x, index, y);
                kernels.tokens().addRows(new TokenShape(1, last + 1L, 1, 8), y, x, index, y);
                return values(y, 0, 8);
            }
        });
    }

    @Test
    void stridedCopies() {
        same(64, distance -> {
            try (Buffer x = spread(DType.F32, distance, 2, 33);
                    Buffer y = spread(DType.F32, distance, 2, 33)) {
                long[] strides = {distance, 2};
                kernels.elementwise()
                        .copyStrided(new Strided(x, 1, strides), new Strided(y, 0, strides), new long[] {2, 16});
                return values(y, distance, 33);
            }
        });
    }

    @ParameterizedTest
    @EnumSource(
            value = DType.class,
            names = {"F32", "BF16"})
    void attention(DType dtype) {
        int size = 5 * 3 * 16;
        same(256, distance -> {
            Strides strides = new Strides(distance, 16, 3 * 16);
            AttentionShape shape = new AttentionShape(2, 1, 5, 5, 16, .25, strides, strides, strides, strides, 0);
            try (Buffer qkv = spread(dtype, distance, 2, size);
                    Buffer out = spread(dtype, distance, 2, size);
                    Buffer dout = spread(dtype, distance, 2, size);
                    Buffer gradient = spread(dtype, distance, 2, size);
                    Buffer logSumExp = device.allocate(DType.F32, 10)) {
                Buffer k = qkv.slice(16, qkv.length() - 16);
                Buffer v = qkv.slice(32, qkv.length() - 32);
                kernels.attention().attention(shape, new AttentionTensors(qkv, k, v, null), out, logSumExp);
                Buffer dk = gradient.slice(16, gradient.length() - 16);
                Buffer dv = gradient.slice(32, gradient.length() - 32);
                kernels.attention()
                        .attentionBackward(
                                shape,
                                new AttentionTensors(qkv, k, v, null),
                                out,
                                logSumExp,
                                dout,
                                new AttentionTensors(gradient, dk, dv, null));
                double[] forward = values(out, distance, size);
                double[] backward = values(gradient, distance, size);
                return DoubleStream.concat(Arrays.stream(forward), Arrays.stream(backward))
                        .toArray();
            }
        });
    }

    @Test
    void patches() {
        int size = 2 * 8 * 8 * 3;
        same(size, distance -> {
            PatchGeometry geometry = new PatchGeometry(
                    2, 2, 8, 8, 3, 2, 4, distance, 8 * 8 * 3, 8 * 3, 3, 1, 1 / 255.0, new double[3], new double[] {
                        1, 1, 1
                    });
            try (Buffer video = spread(DType.U8, distance, 2, size);
                    Buffer out = device.allocate(DType.F32, 2L * size)) {
                kernels.patches().gatherPatches(geometry, video, null, 4, out);
                return values(out, 0, 2 * size);
            }
        });
    }

    /** The library may choose another algorithm for other strides. */
    @Test
    void products() {
        Apart product = distance -> {
            try (Buffer a = spread(DType.F32, distance, 2, 16);
                    Buffer c = device.allocate(DType.F32, 32)) {
                kernels.matmul()
                        .matmulBatched(
                                MatmulShape.of(false, false, 4, 4, 4), new Batch(2, distance, distance, 16), a, a, c);
                return values(c, 0, 32);
            }
        };
        Close.relative(product.run(FAR), product.run(16), 1e-6, "products far apart");
    }
}
