package tessera.tensor;

import java.util.List;
import tessera.kernels.Device;

/** The devices on which operations are compared with the f64 reference. */
final class TestDevices {
    /** Kinds of device that Tessera computes on. */
    private static final List<String> KINDS = List.of("cpu");

    private TestDevices() {}

    /** Every device that is present. */
    static List<Device> all() {
        return List.of(Device.cpu(), Device.cpu(3));
    }

    /** Kinds of device that are not present, so that a report can say what was not tested. */
    static List<String> absent() {
        return KINDS.stream()
                .filter(kind ->
                        all().stream().noneMatch(device -> device.toString().startsWith(kind)))
                .toList();
    }
}
