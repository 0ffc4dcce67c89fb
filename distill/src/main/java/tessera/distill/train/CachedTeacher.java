package tessera.distill.train;

import java.nio.file.Path;
import java.util.ArrayList;
import java.util.Arrays;
import java.util.LinkedHashMap;
import java.util.List;
import java.util.Map;
import java.util.SequencedMap;
import java.util.Set;
import org.jspecify.annotations.Nullable;
import tessera.distill.data.ClipSet;
import tessera.distill.data.Modality;
import tessera.kernels.Device;
import tessera.nn.TokenGrid;
import tessera.tensor.Autograd;
import tessera.tensor.Scope;
import tessera.tensor.Tensor;
import tessera.tensor.TokenMask;

/** A teacher whose answers come from a {@link TeacherCache}: it never looks at a clip. */
final class CachedTeacher implements Network {
    private final TeacherFile teacher;
    private final SequencedMap<String, Integer> classes;
    private final int featureWidth;
    private final TeacherCache cache;
    private final int clips;

    private CachedTeacher(
            TeacherFile teacher,
            SequencedMap<String, Integer> classes,
            int featureWidth,
            TeacherCache cache,
            int clips) {
        this.teacher = teacher;
        this.classes = classes;
        this.featureWidth = featureWidth;
        this.cache = cache;
        this.clips = clips;
    }

    /**
     * Opens a teacher's cache and lets the teacher look at what is absent in it.
     *
     * @param views that training will need are those of its steps
     */
    static CachedTeacher open(
            Path folder, TeacherFile teacher, ClipSet set, ClipViews views, Recipe recipe, RunContext context) {
        OpenModel.Description described = OpenModel.Description.of(teacher.file());
        LinkedHashMap<String, Integer> classes = new LinkedHashMap<>();
        described.heads().labels().forEach((head, labels) -> classes.put(head, labels.size()));
        int width = described.config().featureWidth();
        Map<String, String> madeOf = TeacherCache.madeOf(
                TeacherCache.checksum(teacher.file()),
                set.checksum(),
                views.policy() + " as " + teacher.sees() + ", " + recipe.batch() + " clips at once",
                described.heads().labels().keySet().toString(),
                context.compute() + (context.device().isHost() ? " on a CPU" : " on a GPU"));
        int values =
                width + classes.values().stream().mapToInt(Integer::intValue).sum();
        TeacherCache cache = TeacherCache.open(folder, teacher.name(), madeOf, values);
        CachedTeacher cached = new CachedTeacher(teacher, classes, width, cache, set.size());
        try {
            cached.fill(views, recipe, context);
            return cached;
        } catch (RuntimeException | Error e) {
            cache.close();
            throw e;
        }
    }

    private long number(ClipViews.View view) {
        return (long) view.number() * clips + view.clip();
    }

    /** Computes what is absent, in batches like those of training. */
    private void fill(ClipViews views, Recipe recipe, RunContext context) {
        Set<ClipViews.View> all = views.all(recipe.steps());
        List<ClipViews.View> absent = all.stream()
                .filter(view -> cache.read(number(view)).length == 0)
                .toList();
        if (absent.isEmpty()) {
            return;
        }
        try (Scope scope = Scope.open();
                Network network = OpenModel.frozen(teacher.file(), context).network();
                Task task = Task.begin(
                        context.listener(),
                        "cache " + teacher.name(),
                        Task.Unit.CLIPS,
                        all.size() - absent.size(),
                        all.size())) {
            String damage = cache.damage(absent.stream().map(this::number).toList());
            if (!damage.isEmpty()) {
                task.note(damage);
            }
            context.stop().during(() -> {
                for (int from = 0; from < absent.size(); from += recipe.batch()) {
                    List<ClipViews.View> batch = absent.subList(from, Math.min(absent.size(), from + recipe.batch()));
                    // The last batch is filled up: every one has the shape of training's, on which bits may depend. So
                    // the number of clips at once is part of the cache's name too; their places in the batch do not
                    // matter.
                    ClipViews.View[] padded = batch.toArray(new ClipViews.View[recipe.batch()]);
                    Arrays.fill(padded, batch.size(), padded.length, batch.getLast());
                    List<float[]> entries = look(network, views, padded, context.device());
                    for (int i = 0; i < batch.size(); i++) {
                        cache.write(number(batch.get(i)), entries.get(i));
                    }
                    task.advance(all.size() - absent.size() + from + batch.size());
                    if (context.stop().isRequested()) {
                        throw new StopSignal.Stopped("stopped while answers of the teacher " + teacher.name()
                                + " were computed; run the same command to go on");
                    }
                }
            });
        }
    }

    private List<float[]> look(Network network, ClipViews views, ClipViews.View[] batch, Device device) {
        return Autograd.noGrad(() -> {
            try (Scope scope = Scope.open()) {
                Device host = device.isHost() ? device : Device.cpu();
                Tensor seen = new Batch(views.look(host, Set.of(teacher.sees()), batch)).clips(teacher.sees());
                Outputs outputs = network.forward(seen.to(device), null, Noise.NONE);
                List<float[]> parts = new ArrayList<>();
                parts.add(outputs.feature().toFloats());
                classes.keySet().forEach(head -> parts.add(outputs.logits(head).toFloats()));
                List<float[]> entries = new ArrayList<>();
                for (int i = 0; i < batch.length; i++) {
                    float[] entry = new float[0];
                    for (float[] part : parts) {
                        int length = part.length / batch.length;
                        int at = entry.length;
                        entry = Arrays.copyOf(entry, at + length);
                        System.arraycopy(part, i * length, entry, at, length);
                    }
                    entries.add(entry);
                }
                return entries;
            }
        });
    }

    /** The teacher's answers to a batch, under the names by which {@link #look} finds them. */
    Map<String, Tensor> answers(ClipViews.View[] batch) {
        Map<String, float[]> parts = new LinkedHashMap<>();
        parts.put(name(null), new float[batch.length * featureWidth]);
        classes.forEach((head, count) -> parts.put(name(head), new float[batch.length * count]));
        for (int i = 0; i < batch.length; i++) {
            float[] entry = cache.read(number(batch[i]));
            if (entry.length == 0) {
                throw new IllegalStateException("an entry of the teacher cache " + cache.file()
                        + " was damaged while training used it; run the same command again, which makes it anew");
            }
            int at = 0;
            for (float[] part : parts.values()) {
                int length = part.length / batch.length;
                System.arraycopy(entry, at, part, i * length, length);
                at += length;
            }
        }
        Map<String, Tensor> answers = new LinkedHashMap<>();
        parts.forEach((name, part) -> answers.put(name, Tensor.of(part, batch.length, part.length / batch.length)));
        return answers;
    }

    private String name(@Nullable String head) {
        return teacher.name() + (head == null ? "/feature" : "/head/" + head);
    }

    @Override
    public Outputs look(Batch batch, Modality sees, @Nullable TokenMask mask) {
        return new Outputs(
                null, batch.taught().get(name(null)), head -> batch.taught().get(name(head)));
    }

    @Override
    public Outputs forward(Tensor seen, @Nullable TokenMask mask, Noise noise) {
        throw new IllegalStateException("the teacher " + teacher.name() + " answers from its cache alone");
    }

    @Override
    public TokenGrid grid() {
        throw new IllegalArgumentException(
                "a teacher that answers from a cache has no tokens; give the stage no masks");
    }

    @Override
    public void close() {
        cache.close();
    }
}
