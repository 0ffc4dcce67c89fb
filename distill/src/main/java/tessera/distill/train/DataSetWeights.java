package tessera.distill.train;

import java.io.IOException;
import java.io.UncheckedIOException;
import java.nio.charset.StandardCharsets;
import java.nio.file.Files;
import java.nio.file.Path;
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
import tessera.tensor.io.AtomicFile;
import tessera.tensor.io.WriteFailure;

/**
 * What teachers weigh by the data set: for each head the softmin of their mean cross-entropies on held-out training clips, which they
 * see in the middle view, unmasked. Computed once for a run and kept in its folder, so that a resumed run has the same. A run that
 * is stopped before they are there keeps the sums so far, and goes on with them.
 */
final class DataSetWeights {
    /** Where a run keeps them. */
    static final String FILE = "teacher-weights.json";

    private static final String MADE_OF = "madeOf";
    private static final String LOOKED = "looked";
    private static final String WEIGHTS = "weights";

    private DataSetWeights() {}

    /**
     * What a teacher has looked at.
     *
     * @param clips how many, from the first on
     * @param sums of the cross-entropies by head
     */
    private record Looked(int clips, Map<String, Double> sums) {}

    /** What a file holds: nothing of it, the sums so far, or the weights. */
    private record Kept(Map<String, Looked> looked, Map<String, Map<String, Double>> weights) {
        static final Kept NOTHING = new Kept(Map.of(), Map.of());
    }

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
                ? stage.heldOut().held(clips)
                : IntStream.range(0, own.size()).toArray();
        if (held.length == 0) {
            throw new IllegalArgumentException("teachers are weighted by held-out training clips but none are held"
                    + " out; hold out a share of the clips, 0.1 for example, or pass other training clips");
        }
        if (own != null) {
            requireSameClasses(own, lesson.clips(), stage.heads().keySet());
        } else {
            lesson.teachers().forEach(teacher -> requireHeldOut(teacher, stage.heldOut(), clips));
        }
        Map<String, Object> madeOf = madeOf(stage, lesson, clips, sees);
        Path file = folder.resolve(FILE);
        Kept kept = read(file, Json.text(madeOf));
        if (isWhole(kept.weights, stage, lesson)) {
            return kept.weights;
        }
        Map<String, Looked> looked = new LinkedHashMap<>(kept.looked);
        Map<String, Map<String, Double>> weights = new LinkedHashMap<>();
        context.stop().during(() -> {
            look(looked, stage, lesson, clips, sees, held, context, () -> {
                write(file, Json.text(Map.of(MADE_OF, madeOf, LOOKED, looked)));
            });
            Map<String, Map<String, Double>> losses = new LinkedHashMap<>();
            for (String head : stage.heads().keySet()) {
                Map<String, Double> ofHead = new LinkedHashMap<>();
                for (TeacherFile teacher : lesson.teachers()) {
                    Looked all = Objects.requireNonNull(looked.get(teacher.name()));
                    ofHead.put(teacher.name(), all.sums.getOrDefault(head, Double.NaN) / held.length);
                }
                losses.put(head, ofHead);
                weights.put(head, softmin(stage.weighting().temperature(), ofHead));
            }
            Map<String, Object> all = new LinkedHashMap<>();
            all.put(MADE_OF, madeOf);
            all.put("losses", losses);
            all.put(WEIGHTS, weights);
            write(file, Json.text(all));
        });
        return weights;
    }

    /** What weights were made of; those of a folder hold where it is the same. */
    private static Map<String, Object> madeOf(Ensemble stage, Ensemble.Lesson lesson, ClipSet clips, Geometry sees) {
        Map<String, Object> madeOf = new LinkedHashMap<>();
        madeOf.put("clips", clips.checksum());
        madeOf.put(
                "heldOut",
                lesson.heldOut() == null
                        ? stage.heldOut().share() + " by " + stage.heldOut().seed() + ", "
                                + stage.heldOut().checksum(clips)
                        : "all");
        madeOf.put("seen", sees + " by " + stage.recipe().views());
        madeOf.put("batch", stage.recipe().batch());
        madeOf.put("heads", stage.heads().keySet().toString());
        madeOf.put("temperature", stage.weighting().temperature());
        for (TeacherFile teacher : lesson.teachers()) {
            madeOf.put(
                    "teacher " + teacher.name(),
                    TeacherCache.checksum(teacher.file()) + " sees "
                            + teacher.sees().id());
        }
        return madeOf;
    }

    private static Map<String, Double> softmin(double temperature, Map<String, Double> losses) {
        double[] each = Weighting.softmin(
                temperature,
                losses.values().stream().mapToDouble(Double::doubleValue).toArray());
        Map<String, Double> weights = new LinkedHashMap<>();
        int t = 0;
        for (String teacher : losses.keySet()) {
            weights.put(teacher, each[t++]);
        }
        return weights;
    }

    /** Whether every teacher has its weight for every head; a damaged file's are computed again. */
    private static boolean isWhole(Map<String, Map<String, Double>> weights, Ensemble stage, Ensemble.Lesson lesson) {
        for (String head : stage.heads().keySet()) {
            Map<String, Double> ofHead = weights.getOrDefault(head, Map.of());
            double sum = lesson.teachers().stream()
                    .mapToDouble(teacher -> ofHead.getOrDefault(teacher.name(), Double.NaN))
                    .sum();
            if (!(Math.abs(sum - 1) <= 1e-9)) {
                return false;
            }
        }
        return true;
    }

    /** What a file holds that was made of the same; nothing if there is no such file. */
    private static Kept read(Path file, String madeOf) {
        if (!Files.exists(file)) {
            return Kept.NOTHING;
        }
        try {
            Map<String, @Nullable Object> all = Json.object(Files.readString(file));
            if (!Json.text(all.get(MADE_OF)).equals(madeOf)) {
                return Kept.NOTHING;
            }
            Map<String, Map<String, Double>> weights = new LinkedHashMap<>();
            if (all.get(WEIGHTS) instanceof Map<?, ?> heads) {
                heads.forEach((head, ofTeachers) -> weights.put(head.toString(), numbers(ofTeachers)));
            }
            Map<String, Looked> looked = new LinkedHashMap<>();
            if (all.get(LOOKED) instanceof Map<?, ?> teachers) {
                teachers.forEach((teacher, parts) -> {
                    Map<?, ?> of = (Map<?, ?>) parts;
                    if (of.get("clips") instanceof Number clips) {
                        looked.put(teacher.toString(), new Looked(clips.intValue(), numbers(of.get("sums"))));
                    }
                });
            }
            return new Kept(looked, weights);
        } catch (IllegalArgumentException | ClassCastException e) {
            return Kept.NOTHING; // damaged: it is computed again, to the same bits
        } catch (IOException e) {
            throw new UncheckedIOException(file + " cannot be read", e);
        }
    }

    static Map<String, Double> numbers(@Nullable Object members) {
        Map<String, Double> numbers = new LinkedHashMap<>();
        if (members instanceof Map<?, ?> map) {
            map.forEach((name, number) -> numbers.put(name.toString(), ((Number) number).doubleValue()));
        }
        return numbers;
    }

    private static void write(Path file, String text) {
        try {
            Files.createDirectories(file.toAbsolutePath().getParent());
        } catch (IOException e) {
            throw WriteFailure.of(file, e);
        }
        AtomicFile.write(file, to -> to.write((text + "\n").getBytes(StandardCharsets.UTF_8)));
    }

    /** Lets every teacher look at what it has not looked at. */
    private static void look(
            Map<String, Looked> looked,
            Ensemble stage,
            Ensemble.Lesson lesson,
            ClipSet clips,
            Geometry sees,
            int[] held,
            RunContext context,
            Runnable save) {
        long total = (long) held.length * lesson.teachers().size();
        long done = looked.values().stream().mapToLong(Looked::clips).sum();
        try (Task task = Task.begin(context.listener(), "weigh teachers", Task.Unit.CLIPS, done, total)) {
            for (TeacherFile teacher : lesson.teachers()) {
                Looked before = looked.getOrDefault(teacher.name(), new Looked(0, Map.of()));
                if (before.clips == held.length) {
                    continue;
                }
                try (Scope scope = Scope.open();
                        Network network =
                                OpenModel.frozen(teacher.file(), context).network()) {
                    Map<String, Double> sums = new LinkedHashMap<>(before.sums);
                    int batch = stage.recipe().batch();
                    for (int from = before.clips; from < held.length; from += batch) {
                        int[] chosen = Arrays.copyOfRange(held, from, Math.min(held.length, from + batch));
                        add(sums, stage, network, teacher, clips, sees, chosen, held, context.device());
                        looked.put(teacher.name(), new Looked(from + chosen.length, Map.copyOf(sums)));
                        done += chosen.length;
                        task.advance(done);
                        if (context.stop().isRequested() && done < total) {
                            save.run();
                            throw new StopSignal.Stopped("stopped while teachers were weighed, after " + done + " of "
                                    + total + " clips; run the same command to go on");
                        }
                    }
                }
            }
        }
    }

    private static void add(
            Map<String, Double> sums,
            Ensemble stage,
            Network network,
            TeacherFile teacher,
            ClipSet clips,
            Geometry sees,
            int[] chosen,
            int[] held,
            Device device) {
        Autograd.noGrad(() -> {
            try (Scope scope = Scope.open()) {
                ClipSet.Taken taken =
                        ClipViews.plain(device, clips, sees, stage.recipe().views(), teacher.sees(), chosen, held);
                Tensor seen = Objects.requireNonNull(taken.samples().get(teacher.sees()));
                Outputs outputs = network.forward(seen, null, Noise.NONE);
                for (String head : stage.heads().keySet()) {
                    int[] labels = clips.head(head).ofClip();
                    double[] logits = outputs.logits(head).toDoubles();
                    int classes = logits.length / chosen.length;
                    for (int i = 0; i < chosen.length; i++) {
                        double loss = crossEntropy(logits, i * classes, classes, labels[taken.clips()[i]]);
                        sums.merge(head, loss, Double::sum);
                    }
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
    private static void requireHeldOut(TeacherFile teacher, HeldOut heldOut, ClipSet clips) {
        HeldOut.Trained trained;
        try (Checkpoint checkpoint = Checkpoint.read(teacher.file())) {
            trained = HeldOut.Trained.of(checkpoint.metadata());
        }
        String who = "the teacher " + teacher.name() + " (" + teacher.file() + ")";
        HeldOut left = trained.heldOut();
        if (!trained.told()) {
            return;
        }
        if (left.share() > 0 && trained.clips() == null) {
            throw new IllegalArgumentException(who
                    + " does not say which clips it left out, because an earlier version chose them otherwise; train it"
                    + " again, or pass other clips to weigh it by");
        }
        if (!left.equals(heldOut)) {
            throw new IllegalArgumentException(who + " was trained with " + left.difference(heldOut)
                    + ", so it has seen clips by which it would be weighed; hold out the same share in `tessera train`,"
                    + " or pass other clips to weigh it by");
        }
        // Of a class with more or fewer clips another number is left out.
        if (trained.clips() != null && !trained.clips().equals(heldOut.checksum(clips))) {
            throw new IllegalArgumentException(who
                    + " left out other clips when it was trained than are left out of these, so it may have seen clips by"
                    + " which it would be weighed; train it on the same clips, or pass other clips to weigh it by");
        }
    }
}
