package tessera.distill.demo;

import java.lang.foreign.MemorySegment;
import java.nio.file.Path;
import java.util.ArrayList;
import java.util.List;
import tessera.distill.demo.DemoResult.Cost;
import tessera.distill.evaluation.PairedTiming;
import tessera.distill.train.RunContext;
import tessera.distill.train.Task;
import tessera.nn.inference.Masking;
import tessera.nn.inference.Student;
import tessera.tensor.CostMeter;

/** What a student's features of one clip cost. */
final class Costs {
    private static final int LATENCY_WARM_UP = 3;

    private Costs() {}

    /** Measures the grid in rounds, so that every cell of a round meets the same state of the machine. */
    static List<Cost> of(DemoPlan.CostGrid how, Path file, byte[] clip, RunContext context) {
        List<Masking> grid = how.cells();
        List<Student.Session> cells = new ArrayList<>();
        try (Student student = Student.load(file, context.device(), context.compute())) {
            try {
                for (Masking masking : grid) {
                    Student.Session session = student.session(1, masking);
                    session.input().copyFrom(MemorySegment.ofArray(clip));
                    cells.add(session);
                }
                PairedTiming timing = time(cells, how.rounds(), context);
                List<Cost> costs = new ArrayList<>();
                for (int cell = 0; cell < cells.size(); cell++) {
                    costs.add(cost(grid.get(cell), cells.get(cell), timing.milliseconds(cell), timing.ratio(0, cell)));
                }
                return costs;
            } finally {
                cells.forEach(Student.Session::close);
            }
        }
    }

    private static PairedTiming time(List<Student.Session> cells, int rounds, RunContext context) {
        long[][] nanos = new long[cells.size()][rounds];
        try (Task task = context.task("latency", Task.Unit.ROUNDS, rounds)) {
            for (int round = -LATENCY_WARM_UP; round < rounds; round++) {
                for (int cell = 0; cell < cells.size(); cell++) {
                    long began = System.nanoTime();
                    cells.get(cell).features(round);
                    if (round >= 0) {
                        nanos[cell][round] = System.nanoTime() - began;
                    }
                }
                task.advance(Math.max(0, round + 1));
            }
        }
        return new PairedTiming(nanos);
    }

    private static Cost cost(Masking masking, Student.Session session, double milliseconds, double speedup) {
        try (CostMeter meter = CostMeter.open()) {
            session.features(0);
            // The patch embedding is a linear layer too.
            double linear = meter.of("linear").flops() / 1e9;
            double attention = meter.of("attention").flops() / 1e9;
            return new Cost(masking.ratio(), masking.ensemble(), milliseconds, speedup, linear + attention, linear);
        }
    }
}
