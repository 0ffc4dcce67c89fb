package tessera.kernels;

import java.util.HashSet;
import java.util.List;
import java.util.stream.Collectors;

/**
 * One device's place in a group of devices that add up what each of them has.
 *
 * <p>A sum waits on its stream until every device of the group has come to it, so all ask for the same sums in the same order, each on
 * a thread of its own: a thread that waits for one device cannot let another go on. Sums may be recorded in graphs, which are closed
 * before the communicator. One thread at a time uses a communicator; any thread may {@link #abort}.
 */
public interface Communicator extends AutoCloseable {
    /**
     * Joins devices into a group.
     *
     * @param devices two or more GPUs of this process, each once
     * @return a communicator for each, in their order; the caller closes all of them
     * @throws IllegalArgumentException if the devices cannot add up, with the reason and what to do
     * @throws DeviceException if joining them fails
     */
    static List<Communicator> of(List<Device> devices) {
        requireAble(devices);
        return devices.getFirst().join(devices);
    }

    /**
     * Refuses devices that {@link #of} cannot join; joins nothing.
     *
     * @throws IllegalArgumentException with the reason and what to do
     */
    static void requireAble(List<Device> devices) {
        if (devices.size() < 2 || new HashSet<>(devices).size() < devices.size()) {
            throw new IllegalArgumentException(
                    "devices " + names(devices) + " are no group; name two or more devices, each once");
        }
        devices.getFirst().requireJoins(devices);
    }

    /** Devices in words, such as {@code cuda:0,cuda:1}. */
    static String names(List<Device> devices) {
        return devices.stream().map(Device::toString).collect(Collectors.joining(","));
    }

    /** The number of this device in the group, from 0. */
    int rank();

    /** Devices in the group. */
    int size();

    /**
     * Enqueues a sum: what the buffer holds on each device is replaced by the sum over all devices, with the same bits on each.
     * Which terms are added first is not said, but for two it does not matter.
     *
     * @param values f32 in the memory of this device, as many on every device
     * @param stream of this device
     * @throws IllegalStateException if the group was broken off or this is closed
     */
    void sum(Buffer values, Stream stream);

    /**
     * Breaks off the group: sums that wait for other devices end without a result, and further ones are refused. For when a device
     * will not come to its sums because something failed. A second call does nothing.
     */
    void abort();

    /** Leaves the group, when the work of all sums is done; a second call does nothing. */
    @Override
    void close();
}
