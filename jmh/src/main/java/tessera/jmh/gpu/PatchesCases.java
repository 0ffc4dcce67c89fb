package tessera.jmh.gpu;

import tessera.kernels.Buffer;
import tessera.kernels.Patches.PatchGeometry;
import tessera.kernels.Patches.PatchTarget;

/** Patches of a video and what is reconstructed of them. */
final class PatchesCases extends FamilyCases {
    private static final int SECTOR = 32;

    PatchesCases(Sizes sizes) {
        super(sizes);
    }

    @Override
    void all() {
        PatchGeometry one = sizes.geometry(1);
        double values = (double) visible * one.patchLength();
        moves(
                "patches.gatherPatches",
                "gather patches of u8",
                batched(visible, one.patchLength()),
                (b, s) -> b * values * (1 + s),
                (b, s) -> b * values * 2,
                (b, s) -> b * values * (sectors(visible) + s),
                (kernels, in, b) -> {
                    Buffer video = in.bytes(b * sizes.pixels());
                    Buffer indices = in.tokens(b, tokens, visible);
                    Buffer out = in.output(b * visible * one.patchLength());
                    return () -> kernels.patches().gatherPatches(sizes.geometry(b), video, indices, visible, out);
                });
        moves(
                "patches.gatherPatches",
                "gather patches of f32",
                batched(visible, one.patchLength()),
                (b, s) -> b * values * (4 + s),
                (b, s) -> b * values * 2,
                (kernels, in, b) -> {
                    Buffer video = in.floatVideo(b * sizes.pixels());
                    Buffer indices = in.tokens(b, tokens, visible);
                    Buffer out = in.output(b * visible * one.patchLength());
                    return () -> kernels.patches().gatherPatches(sizes.geometry(b), video, indices, visible, out);
                });
        moves(
                "patches.scatterPatches",
                "scatter patches to f32",
                batched(visible, one.patchLength()),
                (b, s) -> b * values * (2 * Float.BYTES + s),
                (b, s) -> b * values * 2,
                (kernels, in, b) -> {
                    Buffer dout = in.normal(b * visible * one.patchLength());
                    Buffer indices = in.tokens(b, tokens, visible);
                    Buffer dvideo = in.written(in.floatVideo(b * sizes.pixels()));
                    return () -> kernels.patches().scatterPatches(sizes.geometry(b), dout, indices, visible, dvideo);
                });
        int masked = tokens - sizes.visible(PRETRAIN_RHO);
        double targets = (double) masked * one.patchLength();
        String shape = sizes.pretrainBatch() + " x " + masked + " x " + one.patchLength();
        add(new KernelCase(
                        "patches.reconstructionTarget",
                        "reconstruction target",
                        shape,
                        sizes.pretrainBatch(),
                        1,
                        true,
                        (b, s) -> b * targets * (1 + s),
                        (b, s) -> b * targets * 7,
                        false,
                        false,
                        (kernels, in, b) -> {
                            Buffer video = in.bytes(b * sizes.pixels());
                            Buffer indices = in.tokens(b, tokens, masked);
                            Buffer target = in.output(b * masked * one.patchLength());
                            PatchTarget which = new PatchTarget(sizes.geometry(b), masked, 1e-6, true);
                            return () -> kernels.patches().reconstructionTarget(which, video, indices, target);
                        })
                .reading((b, s) -> b * targets * (sectors(masked) + s)));
        add(new KernelCase(
                        "patches.reconstructionLoss",
                        "reconstruction loss with gradient",
                        shape,
                        sizes.pretrainBatch(),
                        1,
                        true,
                        (b, s) -> b * targets * (1 + 2 * s),
                        (b, s) -> b * targets * 11,
                        true,
                        false,
                        (kernels, in, b) -> {
                            Buffer video = in.bytes(b * sizes.pixels());
                            Buffer indices = in.tokens(b, tokens, masked);
                            Buffer prediction = in.normal(b * masked * one.patchLength());
                            Buffer loss = in.masterOutput(1);
                            Buffer gradient = in.output(b * masked * one.patchLength());
                            PatchTarget which = new PatchTarget(sizes.geometry(b), masked, 1e-6, true);
                            return () -> kernels.patches()
                                    .reconstructionLoss(which, video, indices, prediction, loss, gradient);
                        })
                .reading((b, s) -> b * targets * (sectors(masked) + 2 * s)));
    }

    /**
     * Bytes of sectors for each byte of a video in u8 of whose patches so many are read: a row of a patch begins and ends within
     * sectors, which it shares with its neighbours where those are read too.
     */
    private double sectors(int read) {
        int run = sizes.config().patches().patch() * sizes.config().patches().channels();
        double share = (double) read / tokens;
        double touched = 0;
        for (int sector = 0; sector < run; sector++) { // of the first SECTOR runs, which begin and end with a sector
            int first = sector * SECTOR / run;
            int last = ((sector + 1) * SECTOR - 1) / run;
            touched += 1 - Math.pow(1 - share, last - first + 1);
        }
        return touched * SECTOR / (share * SECTOR * run);
    }
}
