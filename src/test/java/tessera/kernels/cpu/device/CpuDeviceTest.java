package tessera.kernels.cpu.device;

import static org.junit.jupiter.api.Assertions.assertEquals;
import static org.junit.jupiter.api.Assertions.assertNotEquals;
import static org.junit.jupiter.api.Assertions.assertThrows;

import java.util.concurrent.atomic.AtomicInteger;
import org.junit.jupiter.api.Test;
import tessera.kernels.Device;
import tessera.kernels.Stream;

class CpuDeviceTest {
    @Test
    void streamsAreToldApartAndBelongToTheirDevice() {
        Device mine = Device.cpu(1);
        AtomicInteger runs = new AtomicInteger();
        try (Stream one = mine.newStream();
                Stream other = mine.newStream();
                Stream foreign = Device.cpu(1).newStream()) {
            assertNotEquals(one, other);
            mine.on(one, runs::incrementAndGet);
            assertEquals(1, runs.get());
            assertEquals(
                    "a stream of cpu is no stream of this cpu; make one with newStream() of this device",
                    assertThrows(IllegalArgumentException.class, () -> mine.on(foreign, runs::incrementAndGet))
                            .getMessage());
            assertEquals(1, runs.get());
        }
    }
}
