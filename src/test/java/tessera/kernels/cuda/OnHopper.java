package tessera.kernels.cuda;

import java.util.ArrayList;
import java.util.List;
import java.util.Random;
import java.util.function.IntToDoubleFunction;
import org.jspecify.annotations.Nullable;
import org.junit.jupiter.api.AfterEach;
import org.junit.jupiter.api.BeforeEach;
import tessera.kernels.Buffer;
import tessera.kernels.DType;
import tessera.kernels.Device;
import tessera.kernels.Matmul.Activation;
import tessera.kernels.Matmul.Epilogue;
import tessera.kernels.cpu.Elements;

/** Tests on {@link HopperDevice} with bf16 values that a reference on the CPU has too. */
abstract class OnHopper {
    /** Of results that are rounded to bf16, and of hidden values that are before they are rounded further. */
    static final double TOLERANCE = 1.0 / 256;

    static final Device CPU = Device.cpu();

    final Random random;
    private final DType wide;
    private final List<Buffer> open = new ArrayList<>();

    /** @param wide type of values on the CPU */
    OnHopper(long seed, DType wide) {
        this.random = new Random(seed);
        this.wide = wide;
    }

    @BeforeEach
    void needsDevice() {
        HopperDevice.need();
    }

    @AfterEach
    void close() {
        open.forEach(Buffer::close);
        HopperDevice.giveBack();
    }

    /** Values that bf16 has, here and on the GPU. */
    record Pair(Buffer here, Buffer there) {}

    /** @param shift how many values lie before them on the GPU */
    final Pair pair(long n, int shift, IntToDoubleFunction value) {
        Buffer here = kept(CPU.allocate(wide, n));
        Buffer narrow = kept(CPU.allocate(DType.BF16, n));
        for (int i = 0; i < n; i++) {
            Elements.set(here, i, value.applyAsDouble(i));
        }
        CPU.kernels().elementwise().cast(here, narrow);
        CPU.kernels().elementwise().cast(narrow, here);
        Buffer there = kept(HopperDevice.get().allocate(DType.BF16, n + shift)).slice(shift, n);
        narrow.copyTo(there);
        return new Pair(here, there);
    }

    final Pair normal(long n) {
        return pair(n, 0, i -> random.nextGaussian());
    }

    /** A weight in f32 on the CPU. */
    final Buffer weight(long n, IntToDoubleFunction value) {
        Buffer weight = kept(CPU.allocate(DType.F32, n));
        for (int i = 0; i < n; i++) {
            Elements.set(weight, i, value.applyAsDouble(i));
        }
        return weight;
    }

    final Buffer normalWeight(long n) {
        return weight(n, i -> .1 * random.nextGaussian());
    }

    /** A copy on the GPU. */
    final Buffer there(Buffer here) {
        Buffer there = kept(HopperDevice.get().allocate(here.dtype(), here.length()));
        here.copyTo(there);
        return there;
    }

    /** Memory for results on the GPU. */
    final Buffer result(long n) {
        return kept(HopperDevice.get().allocate(DType.BF16, n));
    }

    final Buffer kept(Buffer buffer) {
        open.add(buffer);
        return buffer;
    }

    static double[] values(Buffer buffer) {
        try (Buffer back = CPU.allocate(buffer.dtype(), buffer.length())) {
            buffer.copyTo(back);
            double[] values = new double[Math.toIntExact(back.length())];
            for (int i = 0; i < values.length; i++) {
                values[i] = Elements.get(back, i);
            }
            return values;
        }
    }

    static Epilogue epilogue(@Nullable Buffer bias, @Nullable Buffer addend, boolean gelu) {
        return new Epilogue(bias, addend, gelu ? Activation.GELU : Activation.NONE);
    }
}
