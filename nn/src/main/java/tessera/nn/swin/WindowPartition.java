package tessera.nn.swin;

import org.jspecify.annotations.Nullable;
import tessera.kernels.Device;
import tessera.nn.TokenGrid;
import tessera.tensor.Tensor;

/** How the blocks of one kind in a stage see their tokens: {@link Windows} on a device, which it owns. Shared by these blocks. */
final class WindowPartition implements AutoCloseable {
    private final int count;
    private final int tokens;
    private final @Nullable Rearrangement order;
    private final @Nullable Tensor regions;
    private final Tensor relativeIndex;

    WindowPartition(Device device, TokenGrid grid, TokenGrid window, boolean shifted) {
        Windows windows = Windows.of(grid, window, shifted);
        count = windows.count();
        tokens = windows.window().tokens();
        order = windows.isIdentity() ? null : Rearrangement.of(device, windows.index(), windows.inverse());
        int[] labels = windows.regions();
        regions = labels == null ? null : Rearrangement.onDevice(device, labels, count, tokens);
        relativeIndex = Rearrangement.onDevice(device, Windows.relativeIndex(window, tokens), tokens, tokens);
    }

    /** Pad, shift and cut: {@code [B, N, D]} to {@code [B * windows, window, D]}. */
    Tensor partition(Tensor x) {
        Tensor moved = order == null ? x : order.there(x); // [B, places, D]
        return moved.reshape(x.size(0) * count, tokens, x.size(2));
    }

    /** Back from there: {@code [B * windows, window, D]} to {@code [B, N, D]}. */
    Tensor reverse(Tensor windows) {
        Tensor joined = windows.reshape(windows.size(0) / count, (long) count * tokens, windows.size(2));
        return order == null ? joined : order.back(joined);
    }

    /** i32 {@code [windows, window]}, or null without a shift. */
    @Nullable
    Tensor regions() {
        return regions;
    }

    /** i32 {@code [window, window]}, the row of the table for each query and key. */
    Tensor relativeIndex() {
        return relativeIndex;
    }

    @Override
    public void close() {
        if (order != null) {
            order.close();
        }
        if (regions != null) {
            regions.close();
        }
        relativeIndex.close();
    }
}
