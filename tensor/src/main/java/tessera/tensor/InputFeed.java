package tessera.tensor;

import java.util.ArrayList;
import java.util.List;
import org.jspecify.annotations.Nullable;
import tessera.kernels.Buffer;
import tessera.kernels.Device;
import tessera.kernels.Event;
import tessera.kernels.Stream;

/**
 * Inputs of coming calls, which are brought to a device beside the call that runs. Two places take turns: while a call reads what came
 * through one, the other is filled. On a GPU each is pinned memory and memory of the device, with a copying stream between them;
 * elsewhere memory of the host, which calls read as it is.
 *
 * <p>One thread sends, another takes. The order of a place's uses is kept by its events, whatever the threads do; what is sent twice
 * before it is taken is lost.
 */
final class InputFeed implements AutoCloseable {
    private static final int PLACES = 2;

    private final Device device;
    private final @Nullable Stream calls;
    private final @Nullable Stream copies;
    private final List<Place> places = new ArrayList<>();
    private int next;

    /** What a call's inputs pass through. */
    private static final class Place {
        private final List<Buffer> pinned = new ArrayList<>();
        private final List<Tensor> host = new ArrayList<>();
        private final List<Tensor> there = new ArrayList<>();
        /** Behind the copies to the device, and behind those from there to where calls read. */
        private @Nullable Event arrived;

        private @Nullable Event taken;
    }

    /**
     * Places for inputs of these types and shapes.
     *
     * @param calls the stream on which calls run on a device that records, else null
     */
    InputFeed(Device device, @Nullable Stream calls, List<RecordedCalls.Input> inputs) {
        this.device = device;
        this.calls = calls;
        this.copies = calls == null ? null : device.newStream();
        try {
            for (int i = 0; i < PLACES; i++) {
                add(inputs);
            }
        } catch (RuntimeException | Error e) {
            close();
            throw e;
        }
    }

    private void add(List<RecordedCalls.Input> inputs) {
        Place place = new Place();
        places.add(place);
        Stream running = calls;
        Stream copying = copies;
        if (running == null || copying == null) {
            Device host = device.isHost() ? device : Device.cpu();
            inputs.forEach(input -> place.host.add(Tensor.empty(host, input.dtype(), input.shape())));
            return;
        }
        for (RecordedCalls.Input input : inputs) {
            Buffer memory = device.allocatePinned(input.dtype(), input.shape().count());
            place.pinned.add(memory);
            place.host.add(Tensor.wrap(Device.cpu(), memory.segment(), input.dtype(), input.shape()));
            device.on(running, () -> place.there.add(Tensor.empty(device, input.dtype(), input.shape())));
        }
        place.arrived = copying.record();
        // Behind what may still use that memory on the stream of the calls.
        place.taken = running.record();
    }

    /** Fills the place whose turn it is, begins with its copies to the device and returns its number; the values are done with then. */
    int send(List<Tensor> values) {
        int number = next;
        Place place = places.get(number);
        Event arrived = place.arrived;
        Event taken = place.taken;
        if (arrived != null) {
            arrived.synchronize(); // the copies before read the pinned memory
        }
        for (int i = 0; i < values.size(); i++) {
            place.host.get(i).copyFrom(values.get(i));
        }
        Stream copying = copies;
        if (copying != null && arrived != null && taken != null) {
            copying.await(taken);
            for (int i = 0; i < place.pinned.size(); i++) {
                copying.copy(place.pinned.get(i), place.there.get(i).buffer());
            }
            arrived.record(copying);
        }
        next = (number + 1) % PLACES;
        return number;
    }

    /** Makes what was sent the inputs of the calls that follow: {@code read} on a device that records, else other tensors. */
    List<Tensor> take(int number, List<Tensor> read) {
        Place place = places.get(number);
        Stream running = calls;
        Event arrived = place.arrived;
        Event taken = place.taken;
        if (running == null || arrived == null || taken == null) {
            return place.host;
        }
        running.await(arrived);
        for (int i = 0; i < read.size(); i++) {
            running.copy(place.there.get(i).buffer(), read.get(i).buffer());
        }
        taken.record(running);
        return read;
    }

    @Override
    public void close() {
        Stream copying = copies;
        if (copying != null) {
            copying.close(); // which waits
        }
        for (Place place : places) {
            if (calls != null) {
                device.on(calls, () -> place.there.forEach(Tensor::close));
            }
            place.host.forEach(Tensor::close);
            place.pinned.forEach(Buffer::close);
            end(place.arrived);
            end(place.taken);
        }
        places.clear();
    }

    private static void end(@Nullable Event event) {
        if (event != null) {
            event.close();
        }
    }
}
