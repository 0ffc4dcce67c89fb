package tessera.tensor;

import static tessera.tensor.OpCatalogue.indices;
import static tessera.tensor.OpCatalogue.ints;
import static tessera.tensor.OpCatalogue.normal;
import static tessera.tensor.OpCatalogue.ones;
import static tessera.tensor.OpCatalogue.pixels;
import static tessera.tensor.OpCatalogue.zeroInts;

import java.util.List;
import tessera.kernels.DType;
import tessera.tensor.OpCatalogue.Call;
import tessera.tensor.OpCatalogue.Input;
import tessera.tensor.OpCatalogue.Sample;

/** Samples and bad calls of {@link PatchesOps}. */
final class PatchesSamples {
    private PatchesSamples() {}

    static void addTo(OpCatalogue all) {
        samples(all);
        sizes(all);
        padded(all);
        refusals(all);
    }

    private static void samples(OpCatalogue all) {
        Patches plain = Patches.plain(3, 2, 2);
        Patches scaled = new Patches(2, 1, 4, .5, new double[] {.1, -.2}, new double[] {.5, 2});
        Patches coloured =
                new Patches(3, 2, 4, 1 / 255.0, new double[] {.485, .456, .406}, new double[] {.229, .224, .225});
        Input two = indices(new int[] {0, 3, 5}, new int[] {1, 2, 7});
        all.add(new PatchesOps.GatherPatches(plain), normal(2, 4, 4, 4, 3).unrounded(), two);
        all.add(
                new PatchesOps.GatherPatches(plain),
                "of all",
                normal(1, 2, 4, 2, 3).unrounded());
        all.add(
                new PatchesOps.GatherPatches(scaled),
                "normalised",
                normal(1, 2, 4, 8, 2).unrounded(),
                indices(new int[] {1, 3}));
        all.add(new PatchesOps.GatherPatches(plain), "channel first", channelFirst(2, 3, 4, 4), two);
        all.add(
                new PatchesOps.GatherPatches(plain),
                "of none",
                normal(1, 2, 2, 2, 3).unrounded(),
                ints(1, 1, 0));
        all.add(new PatchesOps.GatherPatches(coloured), "of pixels", pixels(1, 4, 8, 8, 3), indices(new int[] {0, 5, 7
        }));
        Call half = in -> Op.apply(
                new PatchesOps.GatherPatches(coloured, in[0].device().computes(DType.BF16) ? DType.BF16 : null), in);
        all.add(new Sample(
                PatchesOps.GatherPatches.class,
                "of pixels in bf16",
                null,
                half,
                half,
                -1,
                List.of(pixels(1, 4, 8, 8, 3), indices(new int[] {0, 5, 7}))));
        for (boolean normalise : new boolean[] {true, false}) {
            String what = normalise ? "normalised" : "raw";
            PatchesOps.ReconstructionTarget target = new PatchesOps.ReconstructionTarget(plain, 1e-6, normalise);
            all.add(target, what, normal(2, 4, 4, 4, 3).unrounded().constant(), two);
            all.add(target, what + ", channel first", channelFirst(2, 3, 4, 4).constant(), two);
            PatchesOps.ReconstructionLoss loss = new PatchesOps.ReconstructionLoss(plain, 1e-6, normalise);
            all.add(
                    loss,
                    what,
                    normal(2, 3, 24),
                    normal(2, 4, 4, 4, 3).unrounded().constant(),
                    two);
            all.add(
                    loss,
                    what + ", channel first",
                    normal(2, 3, 24),
                    channelFirst(2, 3, 4, 4).constant(),
                    two);
        }
        all.add(
                new PatchesOps.ReconstructionTarget(coloured, 1e-6, true),
                "of pixels",
                pixels(1, 4, 8, 8, 3),
                indices(new int[] {0, 5, 7}));
        all.add(
                new PatchesOps.ReconstructionLoss(coloured, 1e-6, true),
                "of pixels",
                normal(1, 3, 96).in(DType.F32),
                pixels(1, 4, 8, 8, 3),
                indices(new int[] {0, 5, 7}));
    }

    /** Nothing, next to nothing and rows with a tail, where they have not been sampled so above. */
    private static void sizes(OpCatalogue all) {
        Patches pixel = Patches.plain(1, 1, 1);
        Patches square = Patches.plain(3, 2, 2);
        Patches many = Patches.plain(21, 1, 2);
        Input ends = indices(new int[] {0, 3});
        Input noVideo = normal(0, 2, 4, 4, 3).unrounded();
        Input onePixel = normal(1, 1, 1, 1, 1).unrounded();
        Input manyChannels = normal(1, 2, 2, 4, 21).unrounded();
        all.add(new PatchesOps.GatherPatches(square), noVideo, ints(1, 0, 2));
        all.add(new PatchesOps.GatherPatches(pixel), onePixel, ints(1, 1, 1));
        all.add(new PatchesOps.GatherPatches(many), manyChannels, ends);
        all.add(new PatchesOps.ReconstructionTarget(square, 1e-6, true), noVideo.constant(), ints(1, 0, 2));
        all.add(new PatchesOps.ReconstructionTarget(pixel, 1e-6, false), onePixel.constant(), ints(1, 1, 1));
        all.add(new PatchesOps.ReconstructionTarget(many, 1e-6, true), manyChannels.constant(), ends);
        all.add(
                new PatchesOps.ReconstructionLoss(square, 1e-6, true),
                normal(0, 2, 24),
                noVideo.constant(),
                ints(1, 0, 2));
        all.add(
                new PatchesOps.ReconstructionLoss(pixel, 1e-6, false),
                normal(1, 1, 1),
                onePixel.constant(),
                ints(1, 1, 1));
        all.add(new PatchesOps.ReconstructionLoss(many, 1e-6, true), normal(1, 2, 84), manyChannels.constant(), ends);
    }

    /** Videos that are no whole number of patches along some axis or all. */
    private static void padded(OpCatalogue all) {
        PatchesOps.GatherPatches scaled = new PatchesOps.GatherPatches(
                new Patches(3, 2, 4, .5, new double[] {.1, -.2, .3}, new double[] {.5, 2, 1}).padded());
        all.add(scaled, "padded", normal(2, 3, 6, 5, 3).unrounded());
        all.add(scaled, "padded in time", normal(1, 1, 4, 4, 3).unrounded());
        all.add(scaled, "padded in rows", normal(1, 2, 7, 4, 3).unrounded());
        all.add(scaled, "padded in columns", normal(1, 2, 4, 9, 3).unrounded());
        all.add(
                scaled,
                "padded, channel first",
                normal(2, 3, 5, 5, 5).unrounded().seen(t -> t.permute(0, 2, 3, 4, 1)));
        all.add(scaled, "padded, by index", normal(1, 3, 6, 5, 3).unrounded(), indices(new int[] {7, 0, 2}));
        all.add(scaled, "padded, but whole", normal(1, 2, 4, 8, 3).unrounded());
        all.add(scaled, "padded, of nothing", normal(1, 0, 5, 5, 3).unrounded());
        all.add(scaled, "padded, of pixels", pixels(1, 3, 6, 5, 3));
        all.add(
                scaled,
                "padded, of pixels, channel first",
                pixels(1, 3, 3, 18, 5).seen(t -> t.permute(0, 2, 3, 4, 1)));
    }

    private static void refusals(OpCatalogue all) {
        Patches plain = Patches.plain(3, 2, 2);
        all.bad(
                "video rank",
                () -> plain.gather(ones(2, 4, 4, 3), null),
                "the video is f32[2, 4, 4, 3]; pass u8 or f32 [batch, frames");
        all.bad(
                "video of integers",
                () -> plain.gather(zeroInts(1, 2, 2, 2, 3), null),
                "the video is i32[1, 2, 2, 2, 3]");
        all.bad(
                "odd height",
                () -> plain.gather(ones(1, 2, 3, 4, 3), null),
                "is no whole number of patches of 2 frames x 2 x 2 pixels");
        all.bad(
                "target of padded patches",
                () -> plain.padded().reconstructionTarget(ones(1, 2, 3, 4, 3), zeroInts(1, 1), 1e-6, true),
                "reconstruction_target: the video f32[1, 2, 3, 4, 3] is no whole number of patches");
        all.bad(
                "video channels",
                () -> plain.gather(ones(1, 2, 2, 2, 4), null),
                "has 4 channels but the model takes 3");
        all.bad(
                "patch indices",
                () -> plain.gather(ones(1, 2, 2, 2, 3), zeroInts(2, 1)),
                "indices are i32[2, 1]; pass i32[1, count]");
        all.bad(
                "patch beyond the video",
                () -> plain.gather(ones(1, 2, 2, 2, 3), Tensor.of(new int[] {1}, 1, 1)),
                "index 1",
                "[0, 1)");
        all.bad(
                "prediction's shape",
                () -> plain.reconstructionLoss(ones(1, 1, 23), ones(1, 2, 2, 2, 3), zeroInts(1, 1), 1e-6, true),
                "the prediction is f32[1, 1, 23] but the target is f32[1, 1, 24]");
        all.bad(
                "patches of no pixels",
                () -> Patches.plain(3, 2, 0).gather(ones(1), null),
                "patches: 3 channels and patches of 2 x 0 x 0 are not possible");
        all.bad(
                "means per channel",
                () -> new Patches(3, 2, 2, 1, new double[2], new double[3]).gather(ones(1), null),
                "patches: 2 means and 3 standard deviations given for 3 channels");
    }

    private static Input channelFirst(long batch, long channels, long frames, long side) {
        return normal(batch, channels, frames, side, side).unrounded().seen(t -> t.permute(0, 2, 3, 4, 1));
    }
}
