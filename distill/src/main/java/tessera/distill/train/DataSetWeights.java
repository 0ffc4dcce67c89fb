package tessera.distill.train;

import java.io.IOException;
import java.io.UncheckedIOException;
import java.nio.charset.StandardCharsets;
import java.nio.file.Files;
import java.nio.file.Path;
import java.nio.file.StandardCopyOption;
import java.util.Arrays;
import java.util.LinkedHashMap;
import java.util.List;
import java.util.Map;
import java.util.Objects;
import java.util.Set;
import java.util.stream.IntStream;
import org.jspecify.annotations.Nullable;
import tessera.distill.data.ClipSet;
import tessera.distill.data.Geometry;
import tessera.distill.report.Json;
import tessera.kernels.Device;
import tessera.nn.Checkpoint;
import tessera.tensor.Autograd;
import tessera.tensor.Scope;
import tessera.tensor.Tensor;

/**
 * What teachers weigh by the data set: for each head the softmin of their mean cross-entropies on held-out training clips, which they
 * see in the middle view, unmasked. Computed once for a run and kept in its folder, so that a resumed run has the same.
 */
final class DataSetWeights {
    /** Where a run keeps them. */
    static final String FILE = "teacher-weights.json";

    /** Where the command line notes what a model was trained on, {@link ClipSet#checksum}. */
    private static final String CLIPS = "tessera.clips";

    private static final String MADE_OF = "madeOf";
    private static final String WEIGHTS = "weights";

    private DataSetWeights() {}

    /**
     * The weights by head and teacher, from the run's folder if they were made of the same.
     *
     * @throws IllegalArgumentException if no clips are held out
     */
    static Map<String, Map<String, Double>> of(
            Ensemble stage, Ensemble.Lesson lesson, Geometry sees, Path folder, RunContext context) {
        ClipSet own = lesson.heldOut();
        ClipSet clips = own == null ? lesson.clips() : own;
        int[] held = own == null
                ? stage.heldOut().held(clips.labels())
                : IntStream.range(0, own.size()).toArray();
        if (held.length == 0) {
            throw new IllegalArgumentException("teachers are weighted by held-out training clips but none are held"
                    + " out; hold out a share of the clips, 0.1 for example, or pass other training clips");
        }
        if (own != null) {
            requireSameClasses(own, lesson.clips(), stage.heads().keySet());
        } else {
            lesson.teachers().forEach(teacher -> requireHeldOut(teacher, stage.heldOut(), clips.size()));
        }
        Map<String, Object> madeOf = new LinkedHashMap<>();
        madeOf.put("clips", clips.checksum());
        madeOf.put(
                "heldOut",
                own == null ? stage.heldOut().share() + " by " + stage.heldOut().seed() : "all");
        madeOf.put("seen", sees + " by " + stage.recipe().views());
        madeOf.put("heads", stage.heads().keySet().toString());
        madeOf.put("temperature", stage.weighting().temperature());
        for (TeacherFile teacher : lesson.teachers()) {
            madeOf.put(
                    "teacher " + teacher.name(),
                    TeacherCache.checksum(teacher.file()) + " sees "
                            + teacher.sees().id());
        }
        Path file = folder.resolve(FILE);
        Map<String, Map<String, Double>> kept = read(file, Json.text(madeOf));
        if (!kept.isEmpty()) {
            return kept;
        }
        Map<String, Map<String, Double>> losses = losses(stage, lesson, clips, sees, held, context);
        Map<String, Map<String, Double>> weights = new LinkedHashMap<>();
        losses.forEach((head, ofTeachers) -> {
            double[] each = Weighting.softmin(
                    stage.weighting().temperature(),
                    ofTeachers.values().stream()
                            .mapToDouble(Double::doubleValue)
                            .toArray());
            Map<String, Double> ofHead = new LinkedHashMap<>();
            int t = 0;
            for (String teacher : ofTeachers.keySet()) {
                ofHead.put(teacher, each[t++]);
            }
            weights.put(head, ofHead);
        });
        Map<String, Object> all = new LinkedHashMap<>();
        all.put(MADE_OF, madeOf);
        all.put("losses", losses);
        all.put(WEIGHTS, weights);
        write(file, Json.text(all));
        return weights;
    }

    /** The weights of a file that was made of the same; none if there is no such file. */
    private static Map<String, Map<String, Double>> read(Path file, String madeOf) {
        if (!Files.exists(file)) {
            return Map.of();
        }
        try {
            Map<String, @Nullable Object> all = Json.object(Files.readString(file));
            Map<String, Map<String, Double>> weights = new LinkedHashMap<>();
            if (Json.text(all.get(MADE_OF)).equals(madeOf) && all.get(WEIGHTS) instanceof Map<?, ?> heads) {
                heads.forEach((head, ofTeachers) -> {
                    Map<String, Double> ofHead = new LinkedHashMap<>();
                    ((Map<?, ?>) ofTeachers)
                            .forEach((teacher, weight) ->
                                    ofHead.put(teacher.toString(), ((Number) weight).doubleValue()));
                    weights.put(head.toString(), ofHead);
                });
            }
            return weights;
        } catch (IllegalArgumentException | ClassCastException e) {
            return Map.of(); // damaged: it is computed again, to the same bits
        } catch (IOException e) {
            throw new UncheckedIOException(file + " cannot be read", e);
        }
    }

    /** To a temporary name, then moved. */
    private static void write(Path file, String text) {
        try {
            Files.createDirectories(file.toAbsolutePath().getParent());
            Path temporary = file.resolveSibling(FILE + ".tmp");
            Files.writeString(temporary, text + "\n", StandardCharsets.UTF_8);
            Files.move(temporary, file, StandardCopyOption.REPLACE_EXISTING, StandardCopyOption.ATOMIC_MOVE);
        } catch (IOException e) {
            throw new UncheckedIOException(file + " cannot be written", e);
        }
    }

    private static Map<String, Map<String, Double>> losses(
            Ensemble stage, Ensemble.Lesson lesson, ClipSet clips, Geometry sees, int[] held, RunContext context) {
        Map<String, Map<String, Double>> losses = new LinkedHashMap<>();
        stage.heads().keySet().forEach(head -> losses.put(head, new LinkedHashMap<>()));
        long total = (long) held.length * lesson.teachers().size();
        try (Task task = context.task("weigh teachers", Task.Unit.CLIPS, total)) {
            long done = 0;
            for (TeacherFile teacher : lesson.teachers()) {
                try (Scope scope = Scope.open();
                        Network network =
                                OpenModel.frozen(teacher.file(), context).network()) {
                    double[] sums = new double[stage.heads().size()];
                    int batch = stage.recipe().batch();
                    for (int from = 0; from < held.length; from += batch) {
                        int[] chosen = Arrays.copyOfRange(held, from, Math.min(held.length, from + batch));
                        add(sums, stage, network, teacher, clips, sees, chosen, context.device());
                        done += chosen.length;
                        task.advance(done);
                    }
                    int h = 0;
                    for (Map<String, Double> ofHead : losses.values()) {
                        ofHead.put(teacher.name(), sums[h++] / held.length);
                    }
                }
            }
        }
        return losses;
    }

    private static void add(
            double[] sums,
            Ensemble stage,
            Network network,
            TeacherFile teacher,
            ClipSet clips,
            Geometry sees,
            int[] chosen,
            Device device) {
        Autograd.noGrad(() -> {
            try (Scope scope = Scope.open()) {
                Tensor seen =
                        ClipViews.plain(device, clips, sees, stage.recipe().views(), teacher.sees(), chosen);
                Outputs outputs = network.forward(seen, null, Noise.NONE);
                int h = 0;
                for (String head : List.copyOf(stage.heads().keySet())) {
                    int[] labels = clips.head(head).ofClip();
                    double[] logits = outputs.logits(head).toDoubles();
                    int classes = logits.length / chosen.length;
                    for (int i = 0; i < chosen.length; i++) {
                        sums[h] += crossEntropy(logits, i * classes, classes, labels[chosen[i]]);
                    }
                    h++;
                }
                return Set.of();
            }
        });
    }

    private static double crossEntropy(double[] logits, int from, int classes, int label) {
        double most = Double.NEGATIVE_INFINITY;
        for (int c = 0; c < classes; c++) {
            most = Math.max(most, logits[from + c]);
        }
        double sum = 0;
        for (int c = 0; c < classes; c++) {
            sum += Math.exp(logits[from + c] - most);
        }
        return Math.log(sum) + most - logits[from + label];
    }

    private static void requireSameClasses(ClipSet own, ClipSet clips, Set<String> heads) {
        if (own.checksum().equals(clips.checksum())) {
            throw new IllegalArgumentException(
                    "the held-out clips are the training clips themselves; pass other clips, or"
                            + " hold out a share of the training clips");
        }
        for (String head : heads) {
            List<String> held = own.head(head).classes();
            List<String> trained = clips.head(head).classes();
            if (!held.equals(trained)) {
                throw new IllegalArgumentException("the held-out clips have the classes " + held + " for the head '"
                        + head + "' but the training clips " + trained + "; pass clips of the same classes");
            }
        }
    }

    /** Teachers that were trained here tell which clips they left out; those of other origin have not seen these clips. */
    private static void requireHeldOut(TeacherFile teacher, HeldOut heldOut, int size) {
        String trained;
        String clips;
        try (Checkpoint checkpoint = Checkpoint.read(teacher.file())) {
            trained = checkpoint.metadata().get(Trainer.SETTINGS);
            clips = checkpoint.metadata().get(CLIPS);
        }
        if (trained == null) {
            return;
        }
        Map<String, @Nullable Object> left = Settings.parse(trained).values();
        Map<String, @Nullable Object> wanted =
                Settings.parse(heldOut.addTo(Settings.NONE).json()).values();
        wanted.forEach((name, value) -> {
            if (left.containsKey(name) && !Objects.equals(left.get(name), value)) {
                throw new IllegalArgumentException("the teacher " + teacher.name() + " (" + teacher.file()
                        + ") was trained with " + name + " " + left.get(name) + ", not " + value
                        + ", so it has seen clips by which it would be weighed; hold out the same share in `tessera train`,"
                        + " or pass other clips to weigh it by");
            }
        });
        // Which clips are left out depends on their number; another one may be left out where one was broken or added.
        if (clips != null && !clips.startsWith(size + " ")) {
            throw new IllegalArgumentException("the teacher " + teacher.name() + " (" + teacher.file()
                    + ") was trained on other clips (" + clips + ") than the " + size
                    + " here, so it may have seen clips"
                    + " by which it would be weighed; train it on the same clips, or pass other clips to weigh it by");
        }
    }
}
