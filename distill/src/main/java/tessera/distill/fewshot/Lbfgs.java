package tessera.distill.fewshot;

import java.util.ArrayDeque;
import java.util.ArrayList;
import java.util.Arrays;
import java.util.Deque;
import java.util.List;

/**
 * Limited-memory BFGS in f64 (Nocedal and Wright, Numerical Optimization, algorithms 7.4 and 7.5).
 *
 * @param history number of past steps that shape the inverse Hessian
 * @param tolerance largest absolute gradient entry at which the search stops
 * @param maxIterations bound on the number of line searches
 */
record Lbfgs(int history, double tolerance, int maxIterations) {
    /** A differentiable function. */
    interface Objective {
        /** Returns the value at {@code x} and overwrites {@code gradient} with the gradient there. */
        double evaluate(double[] x, double[] gradient);
    }

    /** Where the search ended. */
    record Minimum(double[] x, double value, int iterations, boolean converged) {}

    private record Update(double[] step, double[] gradientChange, double rho) {}

    /** Minimises from {@code start}, which is left as it is. */
    Minimum minimise(Objective objective, double[] start) {
        double[] gradient = new double[start.length];
        var point = new WolfeSearch.Point(0, objective.evaluate(start, gradient), 0, start.clone(), gradient);
        Deque<Update> updates = new ArrayDeque<>();
        int iterations = 0;
        while (!(maxNorm(point.gradient()) <= tolerance) && iterations < maxIterations) {
            double[] direction = direction(point.gradient(), updates);
            // Before any curvature is known the step is scaled so that it moves by at most one unit in 1-norm.
            double firstStep = updates.isEmpty() ? Math.min(1, 1 / oneNorm(point.gradient())) : 1;
            WolfeSearch.Point next = WolfeSearch.search(objective, point, direction, firstStep);
            if (next == null) {
                if (updates.isEmpty()) {
                    break;
                }
                updates.clear();
                continue;
            }
            iterations++;
            remember(updates, point, next);
            point = next;
        }
        return new Minimum(point.x(), point.value(), iterations, maxNorm(point.gradient()) <= tolerance);
    }

    private void remember(Deque<Update> updates, WolfeSearch.Point from, WolfeSearch.Point to) {
        double[] step = difference(to.x(), from.x());
        double[] change = difference(to.gradient(), from.gradient());
        double curvature = dot(step, change);
        // Rounding can leave a tiny or negative curvature, which would spoil the positive definite approximation.
        if (curvature > Math.ulp(1.0) * dot(change, change)) {
            updates.addLast(new Update(step, change, 1 / curvature));
            if (updates.size() > history) {
                updates.removeFirst();
            }
        }
    }

    /** The two-loop recursion: minus the approximate inverse Hessian times the gradient. */
    private static double[] direction(double[] gradient, Deque<Update> updates) {
        double[] d = gradient.clone();
        List<Update> oldestFirst = new ArrayList<>(updates);
        double[] alpha = new double[oldestFirst.size()];
        for (int i = alpha.length - 1; i >= 0; i--) {
            Update u = oldestFirst.get(i);
            alpha[i] = u.rho() * dot(u.step(), d);
            addScaled(d, -alpha[i], u.gradientChange());
        }
        if (alpha.length > 0) {
            Update last = oldestFirst.getLast();
            scale(d, 1 / (last.rho() * dot(last.gradientChange(), last.gradientChange())));
        }
        for (int i = 0; i < alpha.length; i++) {
            Update u = oldestFirst.get(i);
            addScaled(d, alpha[i] - u.rho() * dot(u.gradientChange(), d), u.step());
        }
        scale(d, -1);
        return d;
    }

    static double dot(double[] a, double[] b) {
        double sum = 0;
        for (int i = 0; i < a.length; i++) {
            sum += a[i] * b[i];
        }
        return sum;
    }

    static void addScaled(double[] target, double factor, double[] source) {
        for (int i = 0; i < target.length; i++) {
            target[i] += factor * source[i];
        }
    }

    private static void scale(double[] values, double factor) {
        Arrays.setAll(values, i -> values[i] * factor);
    }

    private static double[] difference(double[] a, double[] b) {
        double[] d = a.clone();
        addScaled(d, -1, b);
        return d;
    }

    private static double maxNorm(double[] values) {
        return Arrays.stream(values).map(Math::abs).max().orElse(0);
    }

    private static double oneNorm(double[] values) {
        return Arrays.stream(values).map(Math::abs).reduce(0, Double::sum);
    }
}
