package tessera.tensor;

import java.util.ArrayList;
import java.util.List;
import org.junit.jupiter.api.Assumptions;
import tessera.FakeCuda;
import tessera.kernels.Device;

/** The devices on which operations are compared with the f64 reference. */
public final class TestDevices {
    private TestDevices() {}

    /** Every device that is present. */
    public static List<Device> all() {
        List<Device> devices = new ArrayList<>(List.of(Device.cpu(), Device.cpu(3)));
        devices.addAll(cuda());
        return devices;
    }

    /** The first CUDA device, real or fake, if there is one. */
    public static List<Device> cuda() {
        try {
            return List.of(Device.cuda(0));
        } catch (IllegalArgumentException e) {
            return List.of();
        }
    }

    /** Two CUDA devices that add up; a test without them is skipped. The fake shows two until its next reset. */
    public static List<Device> two() {
        if (FakeCuda.present()) {
            FakeCuda.reset();
            FakeCuda.set("devices", 2);
        }
        try {
            return Device.parseAll("cuda:0,cuda:1");
        } catch (IllegalArgumentException e) {
            return Assumptions.abort(String.valueOf(e.getMessage()));
        }
    }

    /** Kinds of device that are not present, with the reason, so that a report can say what was not tested. */
    public static List<String> absent() {
        List<String> absent = new ArrayList<>();
        if (!FakeCuda.present()) {
            absent.add("the fake CUDA device, because " + FakeCuda.absence());
        }
        if (FakeCuda.present() || cuda().isEmpty()) {
            absent.add("a real CUDA device, because none is here; real-GPU tests run with the bundle");
        }
        return absent;
    }
}
