package tessera.kernels.cuda;

import java.lang.foreign.MemorySegment;
import java.util.concurrent.ConcurrentLinkedDeque;
import tessera.kernels.Buffer;
import tessera.kernels.DType;
import tessera.kernels.DeviceException;
import tessera.natives.cuda.CudaDriver;
import tessera.natives.cuda.CudaException;

/**
 * Copies between ordinary host memory and one GPU.
 *
 * <p>The driver would first wait for the whole stream to copy from memory that is not pinned. So the data go through two
 * pinned chunks: while one is on its way, the other is filled or emptied. On return the host's side is done with; the
 * device's side is in stream order. Thread-safe: each copy that runs has chunks of its own, kept for the next.
 */
final class CudaTransfers {
    private static final long CHUNK_BYTES = 4L << 20;
    private static final int CHUNKS = 2;

    private final CudaDevice device;
    private final ConcurrentLinkedDeque<Chunks> idle = new ConcurrentLinkedDeque<>();

    CudaTransfers(CudaDevice device) {
        this.device = device;
    }

    /** See {@link tessera.kernels.Device#copy}. */
    void copy(Buffer from, Buffer to) {
        if (from.device().isHost()) {
            upload(from, to);
        } else if (to.device().isHost()) {
            download(from, to);
        } else if (from.device() == device) {
            CudaThread.currentStream(device).copy(from, to);
        } else if (from.device() instanceof CudaDevice peer) {
            fromPeer(peer, from, to);
        } else {
            throw new IllegalArgumentException(
                    "copy: " + from + " to " + to + " goes from one kind of device to another; copy to the cpu first");
        }
    }

    private void upload(Buffer from, Buffer to) {
        CudaStream stream = CudaThread.currentStream(device);
        if (stream.recording()) {
            throw new IllegalStateException("copy: " + from + " to " + to
                    + " inside a graph would copy today's values at every launch; copy before the recording, or from"
                    + " pinned memory with Stream.copy");
        }
        try {
            if (from.pinned()) {
                stream.copy(from, to);
                stream.synchronize();
            } else {
                uploadChunks(from.segment(), to.address(), stream);
            }
        } catch (CudaException e) {
            throw device.failed(e);
        }
    }

    private void uploadChunks(MemorySegment from, long to, CudaStream stream) {
        Chunks chunks = borrow();
        try {
            long bytes = from.byteSize();
            int next = 0;
            for (long at = 0; at < bytes; at += CHUNK_BYTES) {
                long count = Math.min(CHUNK_BYTES, bytes - at);
                chunks.reached[next].synchronize();
                MemorySegment.copy(from, at, chunks.memory[next].segment(), 0, count);
                CudaDriver.memcpyHtoDAsync(to + at, chunks.memory[next].address(), count, stream.handle());
                chunks.reached[next].record(stream);
                next = (next + 1) % CHUNKS;
            }
        } catch (CudaException | DeviceException e) {
            device.quietly(stream::synchronize);
            throw e;
        } finally {
            idle.addFirst(chunks);
        }
    }

    private void download(Buffer from, Buffer to) {
        CudaStream stream = CudaThread.currentStream(device);
        if (stream.recording()) {
            throw new IllegalStateException(
                    "copy: " + from + " to " + to + " inside a graph has no values yet; copy after the graph's launch");
        }
        try {
            if (to.pinned()) {
                stream.copy(from, to);
                stream.synchronize();
            } else {
                downloadChunks(from.address(), to.segment(), stream);
            }
        } catch (CudaException e) {
            throw device.failed(e);
        }
    }

    private void downloadChunks(long from, MemorySegment to, CudaStream stream) {
        Chunks chunks = borrow();
        try {
            long bytes = to.byteSize();
            long parts = (bytes + CHUNK_BYTES - 1) / CHUNK_BYTES;
            for (long i = 0; i <= parts; i++) {
                if (i < parts) {
                    int next = (int) (i % CHUNKS);
                    long at = i * CHUNK_BYTES;
                    // An earlier copy up may still be reading the chunk, on another stream.
                    chunks.reached[next].synchronize();
                    long count = Math.min(CHUNK_BYTES, bytes - at);
                    CudaDriver.memcpyDtoHAsync(chunks.memory[next].address(), from + at, count, stream.handle());
                    chunks.reached[next].record(stream);
                }
                if (i > 0) {
                    int before = (int) ((i - 1) % CHUNKS);
                    long at = (i - 1) * CHUNK_BYTES;
                    chunks.reached[before].synchronize();
                    MemorySegment.copy(chunks.memory[before].segment(), 0, to, at, Math.min(CHUNK_BYTES, bytes - at));
                }
            }
        } catch (CudaException | DeviceException e) {
            device.quietly(stream::synchronize);
            throw e;
        } finally {
            idle.addFirst(chunks);
        }
    }

    private void fromPeer(CudaDevice source, Buffer from, Buffer to) {
        CudaThread.currentStream(source).synchronize();
        CudaStream stream = CudaThread.currentStream(device);
        CudaThread.get().use(device);
        try {
            CudaDriver.memcpyPeerAsync(
                    to.address(), device.context(), from.address(), source.context(), from.byteSize(), stream.handle());
        } catch (CudaException e) {
            throw device.failed(e);
        }
        stream.synchronize();
    }

    private Chunks borrow() {
        CudaThread.get().use(device);
        Chunks chunks = idle.pollFirst();
        return chunks != null ? chunks : new Chunks(device);
    }

    /** Pinned memory, and for each part of it an event behind its last copy. */
    private static final class Chunks {
        private final Buffer[] memory = new Buffer[CHUNKS];
        private final CudaEvent[] reached = new CudaEvent[CHUNKS];

        Chunks(CudaDevice device) {
            int made = 0;
            try {
                for (; made < CHUNKS; made++) {
                    memory[made] = device.allocatePinned(DType.U8, CHUNK_BYTES);
                    reached[made] = new CudaEvent(device, false);
                }
            } catch (RuntimeException | Error e) {
                for (int i = 0; i <= made; i++) {
                    if (memory[i] != null) {
                        memory[i].close();
                    }
                    if (reached[i] != null) {
                        reached[i].close();
                    }
                }
                throw e;
            }
        }
    }
}
