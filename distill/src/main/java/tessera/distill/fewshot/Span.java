package tessera.distill.fewshot;

import java.util.ArrayList;
import java.util.List;

/**
 * The space that some rows span, with orthonormal coordinates: products of rows are the products of their coordinates.
 *
 * @param basis orthonormal rows of D numbers; a single row of zeros if nothing but zeros is spanned
 */
record Span(double[][] basis) {
    /** A row that keeps less of its length than this beside the basis adds nothing but rounding errors. */
    private static final double DEPENDENT = 1e-12;

    /** By Gram-Schmidt; each row is made orthogonal twice, because once leaves rounding errors. */
    static Span of(double[][] rows) {
        List<double[]> basis = new ArrayList<>();
        for (double[] row : rows) {
            double[] rest = row.clone();
            for (int round = 0; round < 2; round++) {
                for (double[] direction : basis) {
                    Lbfgs.addScaled(rest, -Lbfgs.dot(direction, rest), direction);
                }
            }
            double length = Math.sqrt(Lbfgs.dot(rest, rest));
            if (length > DEPENDENT * Math.sqrt(Lbfgs.dot(row, row))) {
                for (int j = 0; j < rest.length; j++) {
                    rest[j] /= length;
                }
                basis.add(rest);
            }
        }
        if (basis.isEmpty()) {
            basis.add(new double[rows[0].length]);
        }
        return new Span(basis.toArray(double[][]::new));
    }

    /** The coordinates of rows that lie in the span. */
    double[][] coordinates(double[][] rows) {
        double[][] coordinates = new double[rows.length][basis.length];
        for (int i = 0; i < rows.length; i++) {
            for (int b = 0; b < basis.length; b++) {
                coordinates[i][b] = Lbfgs.dot(basis[b], rows[i]);
            }
        }
        return coordinates;
    }

    /** The row with the given coordinates. */
    double[] combine(double[] coordinates) {
        double[] row = new double[basis[0].length];
        for (int b = 0; b < basis.length; b++) {
            Lbfgs.addScaled(row, coordinates[b], basis[b]);
        }
        return row;
    }
}
