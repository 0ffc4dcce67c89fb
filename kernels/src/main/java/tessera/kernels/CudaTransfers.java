package tessera.kernels;

import java.lang.foreign.MemorySegment;
import tessera.natives.cuda.CudaDriver;
import tessera.natives.cuda.CudaException;

/**
 * Copies between ordinary host memory and one GPU.
 *
 * <p>The driver would first wait for the whole stream to copy from memory that is not pinned. So the data go through two
 * pinned chunks: while one is on its way, the other is filled or emptied. On return the host's side is done with; the
 * device's side is in stream order. Thread-safe: one copy at a time.
 */
final class CudaTransfers {
    private static final long CHUNK_BYTES = 4L << 20;
    private static final int CHUNKS = 2;

    private final CudaDevice device;
    private final MemorySegment[] chunks = new MemorySegment[CHUNKS];
    private final CudaEvent[] reached = new CudaEvent[CHUNKS];
    private boolean ready;

    CudaTransfers(CudaDevice device) {
        this.device = device;
    }

    static void check(Buffer from, Buffer to) {
        if (from.dtype() != to.dtype() || from.length() != to.length()) {
            throw new IllegalArgumentException("copy: " + from + " does not fit " + to
                    + "; pass buffers of the same type and length, or convert with Kernels.cast");
        }
    }

    /** Copies between any two buffers; on return memory of the host is complete and may be changed. */
    static void copy(Buffer from, Buffer to) {
        check(from, to);
        if (from.length() == 0) {
            return;
        }
        Device source = from.device();
        Device target = to.device();
        if (target instanceof CudaDevice there) {
            switch (source) {
                case CpuDevice cpu -> there.transfers().upload(from, to);
                case CudaDevice here
                when here == there -> CudaThread.currentStream(there).copy(from, to);
                case CudaDevice here -> there.transfers().fromPeer(here, from, to);
            }
        } else if (source instanceof CudaDevice here) {
            here.transfers().download(from, to);
        } else {
            MemorySegment.copy(from.segment(), 0, to.segment(), 0, from.byteSize());
        }
    }

    private void upload(Buffer from, Buffer to) {
        CudaStream stream = CudaThread.currentStream(device);
        if (stream.capturing()) {
            throw new IllegalStateException("copy: " + from + " to " + to
                    + " inside a graph would copy today's values at every launch; copy before the capture, or from"
                    + " pinned memory with CudaStream.copy");
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

    private synchronized void uploadChunks(MemorySegment from, long to, CudaStream stream) {
        prepare();
        long bytes = from.byteSize();
        int chunk = 0;
        for (long at = 0; at < bytes; at += CHUNK_BYTES) {
            long count = Math.min(CHUNK_BYTES, bytes - at);
            reached[chunk].synchronize();
            MemorySegment.copy(from, at, chunks[chunk], 0, count);
            CudaDriver.memcpyHtoDAsync(to + at, chunks[chunk].address(), count, stream.handle());
            reached[chunk].record(stream);
            chunk = (chunk + 1) % CHUNKS;
        }
    }

    private void download(Buffer from, Buffer to) {
        CudaStream stream = CudaThread.currentStream(device);
        if (stream.capturing()) {
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

    private synchronized void downloadChunks(long from, MemorySegment to, CudaStream stream) {
        prepare();
        long bytes = to.byteSize();
        long chunkCount = (bytes + CHUNK_BYTES - 1) / CHUNK_BYTES;
        for (long i = 0; i <= chunkCount; i++) {
            if (i < chunkCount) {
                int chunk = (int) (i % CHUNKS);
                long at = i * CHUNK_BYTES;
                // A copy up may still be reading the chunk, on another stream.
                reached[chunk].synchronize();
                CudaDriver.memcpyDtoHAsync(
                        chunks[chunk].address(), from + at, Math.min(CHUNK_BYTES, bytes - at), stream.handle());
                reached[chunk].record(stream);
            }
            if (i > 0) {
                int chunk = (int) ((i - 1) % CHUNKS);
                long at = (i - 1) * CHUNK_BYTES;
                reached[chunk].synchronize();
                MemorySegment.copy(chunks[chunk], 0, to, at, Math.min(CHUNK_BYTES, bytes - at));
            }
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

    private void prepare() {
        CudaThread.get().use(device);
        if (!ready) {
            for (int i = 0; i < CHUNKS; i++) {
                chunks[i] = CudaDriver.memHostAlloc(CHUNK_BYTES, 0);
                reached[i] = new CudaEvent(device, false);
            }
            ready = true;
        }
    }
}
