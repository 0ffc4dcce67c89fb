package tessera.distill.sweep;

import java.util.ArrayList;
import java.util.HashMap;
import java.util.List;
import java.util.Map;
import tessera.distill.evaluation.Gflops;
import tessera.distill.evaluation.PairedTiming;
import tessera.distill.sweep.Result.Measured;
import tessera.distill.train.RunContext;
import tessera.distill.train.Task;
import tessera.kernels.Device;
import tessera.nn.inference.Masking;
import tessera.nn.inference.Student;
import tessera.tensor.Scope;
import tessera.tensor.Tensor;

/**
 * Measures every combination of some settings on a student and clips. Answers of a cell are judged once for all batches. Times are
 * paired: in each round the cell and the reference, the unmasked student in f32 that looks at one clip, run one after the other, so
 * that cells that were measured at different times may be compared by their share of the reference's time. Each finished cell is kept
 * in a {@link SweepFolder}, and is not measured again.
 *
 * @param axes what is varied, in the order in which it is applied
 * @param reference the unmasked student in f32, one clip at a time
 * @param judge of answers
 * @param clips on which times are measured
 * @param weightBytes of the students by their words of the axis precision
 * @param rounds of timing
 * @param seed determines the masks
 */
public record Sweep(
        List<SweepAxis> axes,
        Setup reference,
        Judge judge,
        SweepClips clips,
        Map<String, Long> weightBytes,
        int rounds,
        long seed) {
    public Sweep {
        axes = List.copyOf(axes);
        weightBytes = Map.copyOf(weightBytes);
    }

    /** The unmasked student, one clip at a time: what cells are made from and compared with. */
    public static Setup reference(Student student) {
        return new Setup(student, Masking.none(), 1);
    }

    /**
     * Measures the cells that the folder has not yet, and tells how far it is.
     *
     * @return results of all cells of the folder, also of earlier axes
     */
    public List<Result> run(SweepFolder folder, RunContext context) {
        List<Result> results = new ArrayList<>(folder.results());
        Map<Cell, Quality> judged = new HashMap<>();
        for (Result result : results) {
            Measured measured = result.measured();
            if (measured != null) {
                judged.put(result.cell().answers(axes), measured.quality());
            }
        }
        List<Cell> cells = Cell.of(axes);
        List<Cell> open = cells.stream()
                .filter(cell ->
                        results.stream().noneMatch(result -> result.cell().equals(cell)))
                .toList();
        try (Task task = Task.begin(
                context.listener(), "sweep", Task.Unit.CELLS, (long) cells.size() - open.size(), cells.size())) {
            for (Cell cell : open) {
                Result result = measure(cell, judged);
                folder.keep(result);
                results.add(result);
                task.advance((long) cells.size() - open.size() + open.indexOf(cell) + 1);
            }
        }
        return results;
    }

    private Result measure(Cell cell, Map<Cell, Quality> judged) {
        Setup setup = cell.setup(axes, reference);
        Gflops gflops;
        Quality quality;
        try {
            gflops = Gflops.of(setup.student(), setup.masking());
            Quality known = judged.get(cell.answers(axes));
            quality = known == null ? judge.judge(setup) : known;
        } catch (IllegalArgumentException e) {
            // Settings that do not go together; the student says why.
            return new Result(cell, String.valueOf(e.getMessage()), null);
        }
        judged.put(cell.answers(axes), quality);
        try (Scope scope = Scope.open()) {
            Tensor one = clips.cycled(1);
            Tensor batch = clips.cycled(setup.batch());
            PairedTiming timing = PairedTiming.of(List.of(look(reference, one), look(setup, batch)), rounds);
            return new Result(
                    cell,
                    null,
                    new Measured(
                            quality,
                            gflops,
                            timing.milliseconds(1) / setup.batch(),
                            timing.ratio(1, 0) / setup.batch(),
                            weightBytes.getOrDefault(cell.words().getOrDefault("precision", ""), 0L),
                            callBytes(setup, batch)));
        }
    }

    private Runnable look(Setup setup, Tensor batch) {
        return () -> {
            try (Scope scope = Scope.open()) {
                setup.student().features(batch, setup.masking(), seed).toFloats();
            }
        };
    }

    private long callBytes(Setup setup, Tensor batch) {
        Device device = setup.student().device();
        device.resetPeak();
        long before = device.memory().live();
        look(setup, batch).run();
        return device.memory().peak() - before;
    }
}
