package tessera.distill.fewshot;

import org.jspecify.annotations.Nullable;

/**
 * A line search for the strong Wolfe conditions (Nocedal and Wright, Numerical Optimization, algorithms 3.5 and 3.6):
 * bracket a good step by doubling, then close in by cubic interpolation.
 */
final class WolfeSearch {
    /** A place on the line: the step length, the value, the slope along the line, and where that is. */
    record Point(double step, double value, double slope, double[] x, double[] gradient) {}

    private static final double SUFFICIENT_DECREASE = 1e-4;
    private static final double CURVATURE = 0.9;
    private static final int MAX_TRIALS = 40;

    private final Lbfgs.Objective objective;
    private final Point start;
    private final double[] direction;

    private WolfeSearch(Lbfgs.Objective objective, Point start, double[] direction) {
        this.objective = objective;
        this.start = start;
        this.direction = direction;
    }

    /** A point that fulfils both conditions, or null if {@code direction} leads to none that rounding can tell apart. */
    static @Nullable Point search(Lbfgs.Objective objective, Point from, double[] direction, double firstStep) {
        double slope = Lbfgs.dot(from.gradient(), direction);
        if (!(slope < 0)) {
            return null;
        }
        Point start = new Point(0, from.value(), slope, from.x(), from.gradient());
        return new WolfeSearch(objective, start, direction).bracket(firstStep);
    }

    private @Nullable Point bracket(double firstStep) {
        Point previous = start;
        double step = firstStep;
        for (int trial = 0; trial < MAX_TRIALS; trial++) {
            Point here = at(step);
            if (!decreasesEnough(here) || (trial > 0 && here.value() > previous.value() + slack())) {
                return zoom(previous, here);
            }
            if (isFlatEnough(here)) {
                return here;
            }
            if (here.slope() >= 0) {
                return zoom(here, previous);
            }
            previous = here;
            step *= 2;
        }
        return null;
    }

    /** {@code low} holds the best value so far; a good step lies between it and {@code high}. */
    private @Nullable Point zoom(Point low, Point high) {
        for (int trial = 0; trial < MAX_TRIALS; trial++) {
            Point here = at(between(low, high));
            if (!decreasesEnough(here) || here.value() > low.value() + slack()) {
                high = here;
            } else if (isFlatEnough(here)) {
                return here;
            } else {
                if (here.slope() * (high.step() - low.step()) >= 0) {
                    high = low;
                }
                low = here;
            }
        }
        return null;
    }

    /** The minimiser of the cubic through both ends, kept away from them so that the interval always shrinks. */
    private static double between(Point low, Point high) {
        double width = high.step() - low.step();
        double d1 = low.slope() + high.slope() - 3 * (high.value() - low.value()) / width;
        double radicand = d1 * d1 - low.slope() * high.slope();
        double d2 = Math.copySign(Math.sqrt(Math.max(0, radicand)), width);
        double fraction = 1 - (high.slope() + d2 - d1) / (high.slope() - low.slope() + 2 * d2);
        if (!(fraction >= 0.1 && fraction <= 0.9)) {
            fraction = 0.5;
        }
        return low.step() + fraction * width;
    }

    private Point at(double step) {
        double[] x = start.x().clone();
        Lbfgs.addScaled(x, step, direction);
        double[] gradient = new double[x.length];
        double value = objective.evaluate(x, gradient);
        return new Point(step, value, Lbfgs.dot(gradient, direction), x, gradient);
    }

    private boolean decreasesEnough(Point p) {
        return p.value() <= start.value() + SUFFICIENT_DECREASE * p.step() * start.slope() + slack();
    }

    private boolean isFlatEnough(Point p) {
        return Math.abs(p.slope()) <= -CURVATURE * start.slope();
    }

    /** Close to the minimum the true decrease is below the rounding error of the value; the slope still tells. */
    private double slack() {
        return 64 * Math.ulp(start.value());
    }
}
