package tessera.distill.cli;

import java.util.ArrayList;
import java.util.List;
import java.util.function.Supplier;
import tessera.nn.MaskContext;
import tessera.nn.MaskStrategy;
import tessera.tensor.TokenMask;

/** Looks at the masks that another strategy draws, and remembers those of the last call. For a predictor of one thread. */
final class SeenTokens implements MaskStrategy {
    private final MaskStrategy masks;
    private final List<Drawn> drawn = new ArrayList<>();
    private int next;

    /**
     * One mask of the ensemble, of each clip of a batch.
     *
     * @param tokens of a clip
     * @param visible {@code [batch, count]}
     */
    private record Drawn(int tokens, int count, int[] visible) {
        boolean[] of(int clip) {
            boolean[] kept = new boolean[tokens];
            for (int i = clip * count; i < (clip + 1) * count; i++) {
                kept[visible[i]] = true;
            }
            return kept;
        }
    }

    SeenTokens(MaskStrategy masks) {
        this.masks = masks;
    }

    @Override
    public TokenMask draw(MaskContext context) {
        TokenMask mask = masks.draw(context);
        if (context.member() == 0) {
            drawn.clear();
            next = 0;
        }
        drawn.add(new Drawn(
                context.slots() * context.plane(),
                Math.toIntExact(mask.visibleCount()),
                mask.visible().toInts()));
        return mask;
    }

    @Override
    public boolean showsTubes() {
        return masks.showsTubes();
    }

    @Override
    public boolean looksBack() {
        return masks.looksBack();
    }

    @Override
    public String word() {
        return masks.word();
    }

    /** What each mask keeps of the next clip of the call; nothing where no masks were drawn, because every token is seen. */
    Supplier<List<boolean[]>> next() {
        int clip = next++;
        return () -> drawn.stream().map(mask -> mask.of(clip)).toList();
    }
}
