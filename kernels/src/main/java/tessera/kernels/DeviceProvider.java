package tessera.kernels;

/**
 * A kind of devices, found by {@link java.util.ServiceLoader}. {@link Device} is what others call. Thread-safe.
 */
public interface DeviceProvider {
    /** What its devices' names begin with: {@code cpu} or {@code cuda}. */
    String kind();

    /**
     * The device of a number, made by the first call and shared by all.
     *
     * @throws IllegalArgumentException if it cannot be used, with the reason and what to do
     */
    Device device(int ordinal);

    /**
     * A device with worker threads of its own.
     *
     * @throws IllegalArgumentException if this kind has none, or for fewer than 1
     */
    default Device withThreads(int threads) {
        throw new IllegalArgumentException("a device of kind " + kind() + " has no worker threads; use Device.cpu");
    }

    /** Which machine code of its kernels there is, in words. */
    default String machineCode() {
        return "in Java";
    }
}
