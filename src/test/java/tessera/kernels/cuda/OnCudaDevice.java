package tessera.kernels.cuda;

import static org.junit.jupiter.api.Assertions.assertThrows;
import static org.junit.jupiter.api.Assertions.assertTrue;
import static org.junit.jupiter.api.Assumptions.assumeFalse;
import static org.junit.jupiter.api.Assumptions.assumeTrue;

import java.lang.foreign.MemorySegment;
import java.lang.foreign.ValueLayout;
import org.junit.jupiter.api.AfterEach;
import org.junit.jupiter.api.BeforeAll;
import tessera.FakeCuda;
import tessera.kernels.Buffer;
import tessera.kernels.DType;
import tessera.kernels.Device;
import tessera.tensor.TestDevices;

/** What the tests of a device share: whether there is one, and its buffers. */
abstract class OnCudaDevice {
    static final int NOT_SUPPORTED = 801;

    @BeforeAll
    static void needsDevice() {
        assumeFalse(TestDevices.cuda().isEmpty(), FakeCuda::absence);
    }

    static void needsFake() {
        assumeTrue(FakeCuda.present(), FakeCuda::absence);
    }

    @AfterEach
    void forgetFailures() {
        if (FakeCuda.present()) {
            FakeCuda.reset();
        }
    }

    static Device device() {
        return Device.cuda(0);
    }

    static float[] counted(int n) {
        float[] values = new float[n];
        for (int i = 0; i < n; i++) {
            values[i] = i + .5f;
        }
        return values;
    }

    static float[] plus(float[] values, float more) {
        float[] sums = new float[values.length];
        for (int i = 0; i < values.length; i++) {
            sums[i] = values[i] + more;
        }
        return sums;
    }

    static Buffer onHost(float... values) {
        Buffer buffer = Device.cpu().allocate(DType.F32, values.length);
        fill(buffer, values);
        return buffer;
    }

    static void fill(Buffer host, float... values) {
        MemorySegment.copy(values, 0, host.segment(), ValueLayout.JAVA_FLOAT, 0, values.length);
    }

    static Buffer onDevice(float... values) {
        try (Buffer host = onHost(values)) {
            Buffer buffer = device().allocate(DType.F32, values.length);
            host.copyTo(buffer);
            return buffer;
        }
    }

    static float[] read(Buffer buffer) {
        try (Buffer host = Device.cpu().allocate(DType.F32, buffer.length())) {
            buffer.copyTo(host);
            return host.segment().toArray(ValueLayout.JAVA_FLOAT);
        }
    }

    static void addOne(Buffer x, Buffer y) {
        device().kernels().elementwise().affine(x, 1, 1, y);
    }

    static void refused(String remedy, Runnable use) {
        IllegalStateException e = assertThrows(IllegalStateException.class, use::run);
        assertTrue(String.valueOf(e.getMessage()).contains(remedy), e.getMessage());
    }
}
