package tessera.nn.stlt;

import java.util.Arrays;
import java.util.Random;
import tessera.tensor.Tensor;

/** Clips of boxes as an STLT takes them. */
public final class Boxes {
    private static final float[] PADDING = {0, 0, 1e-9f, 1e-9f, 0, 0, 0, 0};

    private Boxes() {}

    /** Random boxes, of which frames have any number: f32 {@code [clips, frames, boxes, 1, 8]}. */
    public static Tensor random(StltConfig config, int clips, long seed) {
        return Tensor.of(values(config, clips, seed), clips, config.frames(), config.boxes(), 1, 8);
    }

    static float[] values(StltConfig config, int clips, long seed) {
        Random random = new Random(seed);
        float[] values = new float[clips * config.frames() * config.boxes() * 8];
        for (int frame = 0; frame < clips * config.frames(); frame++) {
            int count = random.nextInt(config.boxes() + 1);
            for (int box = 0; box < config.boxes(); box++) {
                float[] made = box < count ? box(config, random) : PADDING;
                System.arraycopy(made, 0, values, (frame * config.boxes() + box) * 8, 8);
            }
        }
        return values;
    }

    private static float[] box(StltConfig config, Random random) {
        float[] corners = {random.nextFloat(), random.nextFloat(), random.nextFloat(), random.nextFloat()};
        float[] box = Arrays.copyOf(corners, 8);
        box[4] = random.nextFloat();
        box[5] = 1 + random.nextInt(config.classes() - 1);
        box[6] = random.nextInt(config.sides());
        box[7] = random.nextInt(config.states());
        return box;
    }
}
