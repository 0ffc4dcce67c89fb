package tessera.kernels.cuda;

import java.lang.foreign.MemorySegment;
import java.util.concurrent.ConcurrentLinkedDeque;
import tessera.kernels.Buffer;
import tessera.kernels.DType;
import tessera.kernels.DeviceException;
import tessera.natives.cuda.CudaDriver;

/**
 * Copies between ordinary host memory and one GPU.
 *
 * <p>The driver would first wait for the whole stream to copy from memory that is not pinned. So the data go through two
 * pinned chunks: while one is on its way, the other is filled or emptied. On return the host's side is done with; the
 * device's side is in stream order. Thread-safe: each copy that runs has chunks of its own, kept for the next.
 */
final class CudaTransfers {
    private static final long CHUNK_BYTES = 4L << 20;

    private final CudaDevice device;
    private final ConcurrentLinkedDeque<Chunk> idle = new ConcurrentLinkedDeque<>();

    CudaTransfers(CudaDevice device) {
        this.device = device;
    }

    /** See {@link tessera.kernels.Device#copy}. */
    void copy(Buffer from, Buffer to) {
        if (from.device().isHost() || to.device().isHost()) {
            copyHost(from, to);
        } else if (from.device() == device) {
            device.currentStream().copy(from, to);
        } else if (from.device() instanceof CudaDevice peer) {
            copyPeer(peer, from, to);
        } else {
            throw new IllegalArgumentException(
                    "copy: " + from + " to " + to + " goes from one kind of device to another; copy to the cpu first");
        }
    }

    private void copyHost(Buffer from, Buffer to) {
        boolean up = from.device().isHost();
        CudaStream stream = device.currentStream();
        if (stream.recording()) {
            throw new IllegalStateException("copy: " + from + " to " + to
                    + (up
                            ? " inside a graph would copy today's values at every launch; copy before the recording, or"
                                    + " from pinned memory with Stream.copy"
                            : " inside a graph has no values yet; copy after the graph's launch"));
        }
        if ((up ? from : to).pinned()) {
            stream.copy(from, to);
            stream.synchronize();
            return;
        }
        Chunk first = borrow();
        try {
            Chunk second = borrow();
            try {
                Chunk[] chunks = {first, second};
                device.run(() -> {
                    if (up) {
                        upload(from.segment(), to.address(), chunks, stream);
                    } else {
                        download(from.address(), to.segment(), chunks, stream);
                    }
                });
            } catch (DeviceException e) {
                device.quietly(stream::synchronize);
                throw e;
            } finally {
                idle.addFirst(second);
            }
        } finally {
            idle.addFirst(first);
        }
    }

    private static void upload(MemorySegment from, long to, Chunk[] chunks, CudaStream stream) {
        long bytes = from.byteSize();
        for (long at = 0; at < bytes; at += CHUNK_BYTES) {
            Chunk chunk = chunk(chunks, at);
            long count = Math.min(CHUNK_BYTES, bytes - at);
            chunk.reached.synchronize();
            MemorySegment.copy(from, at, chunk.memory.segment(), 0, count);
            CudaDriver.memcpyHtoDAsync(to + at, chunk.memory.address(), count, stream.handle());
            chunk.reached.record(stream);
        }
    }

    private static void download(long from, MemorySegment to, Chunk[] chunks, CudaStream stream) {
        long bytes = to.byteSize();
        for (long at = 0; at < bytes + CHUNK_BYTES; at += CHUNK_BYTES) {
            if (at < bytes) {
                Chunk chunk = chunk(chunks, at);
                // An earlier copy up may still be reading the chunk, on another stream.
                chunk.reached.synchronize();
                long count = Math.min(CHUNK_BYTES, bytes - at);
                CudaDriver.memcpyDtoHAsync(chunk.memory.address(), from + at, count, stream.handle());
                chunk.reached.record(stream);
            }
            long before = at - CHUNK_BYTES;
            if (before >= 0) {
                Chunk chunk = chunk(chunks, before);
                chunk.reached.synchronize();
                long count = Math.min(CHUNK_BYTES, bytes - before);
                MemorySegment.copy(chunk.memory.segment(), 0, to, before, count);
            }
        }
    }

    /** The chunk that carries what begins at an offset: they take turns. */
    private static Chunk chunk(Chunk[] chunks, long offset) {
        return chunks[(int) (offset / CHUNK_BYTES % chunks.length)];
    }

    private void copyPeer(CudaDevice source, Buffer from, Buffer to) {
        source.currentStream().synchronize();
        CudaStream stream = device.currentStream();
        device.run(() -> CudaDriver.memcpyPeerAsync(
                to.address(), device.context(), from.address(), source.context(), from.byteSize(), stream.handle()));
        stream.synchronize();
    }

    private Chunk borrow() {
        Chunk chunk = idle.pollFirst();
        return chunk != null ? chunk : new Chunk(device);
    }

    /** Pinned memory, and an event behind its last copy. */
    private static final class Chunk {
        private final Buffer memory;
        private final CudaEvent reached;

        Chunk(CudaDevice device) {
            memory = device.allocatePinned(DType.U8, CHUNK_BYTES);
            try {
                reached = new CudaEvent(device, false);
            } catch (RuntimeException | Error e) {
                memory.close();
                throw e;
            }
        }
    }
}
