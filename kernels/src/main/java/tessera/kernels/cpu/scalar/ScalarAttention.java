package tessera.kernels.cpu.scalar;

import java.util.Arrays;
import org.jspecify.annotations.Nullable;
import tessera.kernels.Attention;
import tessera.kernels.Buffer;
import tessera.kernels.cpu.Blocks;
import tessera.kernels.cpu.Elements;
import tessera.kernels.cpu.Workers;

/**
 * Attention one query row at a time; the backward pass recomputes the probabilities from the logarithm of the softmax's
 * denominator (Dao et al., "FlashAttention", NeurIPS 2022). Results do not depend on the number of threads.
 */
public class ScalarAttention implements Attention {
    private static final int QUERIES = 64;

    protected final Workers workers;

    public ScalarAttention(Workers workers) {
        this.workers = workers;
    }

    @Override
    public void attention(AttentionShape shape, AttentionTensors in, Buffer out, @Nullable Buffer logSumExp) {
        long blocks = Blocks.ceilDiv(shape.queries(), QUERIES);
        workers.parallelFor(shape.batch() * shape.heads() * blocks, 1, (worker, from, to) -> {
            Head head = new Head(shape, in);
            double[] sum = new double[shape.headDim()];
            for (long unit = from; unit < to; unit++) {
                head.select(unit / blocks / shape.heads(), (int) (unit / blocks % shape.heads()));
                int first = (int) (unit % blocks) * QUERIES;
                for (int i = first; i < Math.min(first + QUERIES, shape.queries()); i++) {
                    head.scores(i);
                    double denominator = head.logDenominator();
                    head.probabilities(denominator);
                    Arrays.fill(sum, 0);
                    addRows(head.values, head.p, sum);
                    Elements.store(sum, 0, sum.length, out, head.offset(shape.out(), i));
                    if (logSumExp != null) {
                        Elements.set(logSumExp, head.row(i), denominator);
                    }
                }
            }
        });
    }

    @Override
    public void attentionBackward(
            AttentionShape shape,
            AttentionTensors in,
            Buffer out,
            Buffer logSumExp,
            Buffer dout,
            AttentionTensors gradients) {
        Buffer dbias = gradients.bias();
        // Samples that share a bias add to the same gradient, so one thread takes a head of all of them in turn.
        boolean sequential = dbias != null && shape.biasBatch() == 1;
        if (dbias != null && shape.batch() == 0) {
            dbias.segment().fill((byte) 0);
        }
        long samples = sequential ? shape.batch() : 1;
        long units = sequential ? shape.heads() : shape.batch() * shape.heads();
        workers.parallelFor(units, 1, (worker, from, to) -> {
            Head head = new Head(shape, in);
            Gradient gradient = new Gradient(shape, head, out, logSumExp, dout, gradients);
            for (long unit = from; unit < to; unit++) {
                for (long sample = 0; sample < samples; sample++) {
                    head.select(unit / shape.heads() + sample, (int) (unit % shape.heads()));
                    gradient.compute(sample > 0);
                }
            }
        });
    }

    /** {@code sum += weights * rows}, the weights being a row vector. */
    private static void addRows(double[][] rows, double[] weights, double[] sum) {
        for (int j = 0; j < weights.length; j++) {
            axpy(weights[j], rows[j], sum);
        }
    }

    /** {@code rows[j] += weights[j] * row} for every j. */
    private static void addOuter(double[] weights, double[] row, double[][] rows) {
        for (int j = 0; j < weights.length; j++) {
            axpy(weights[j], row, rows[j]);
        }
    }

    /** {@code products[j] = sum_d row[d] * columns[d][j]}: the transposed layout lets the inner loop run over j. */
    private static void dot(double[] row, double[][] columns, double[] products) {
        Arrays.fill(products, 0);
        for (int d = 0; d < row.length; d++) {
            axpy(row[d], columns[d], products);
        }
    }

    private static void axpy(double a, double[] x, double[] y) {
        for (int i = 0; i < y.length; i++) {
            y[i] += a * x[i];
        }
    }

    private static void transpose(double[][] rows, double[][] to) {
        for (int j = 0; j < rows.length; j++) {
            for (int d = 0; d < to.length; d++) {
                to[d][j] = rows[j][d];
            }
        }
    }

    private static void clear(double[][] rows) {
        for (double[] row : rows) {
            Arrays.fill(row, 0);
        }
    }

    /** Keys and values of one head of one sample, and the scores of one query; used by one thread. */
    private static final class Head {
        private final AttentionShape shape;
        private final AttentionTensors in;
        private final double[][] keys;
        private final double[][] keyColumns;
        private final double[][] values;
        private final double[] query;
        private final double[] p;
        private final double[] biasRow;
        private long sample = -1;
        private int head = -1;

        Head(AttentionShape shape, AttentionTensors in) {
            this.shape = shape;
            this.in = in;
            this.keys = new double[shape.keys()][shape.headDim()];
            this.keyColumns = new double[shape.headDim()][shape.keys()];
            this.values = new double[shape.keys()][shape.headDim()];
            this.query = new double[shape.headDim()];
            this.p = new double[shape.keys()];
            this.biasRow = new double[shape.keys()];
        }

        void select(long newSample, int newHead) {
            if (newSample == sample && newHead == head) {
                return;
            }
            sample = newSample;
            head = newHead;
            int width = shape.headDim();
            for (int j = 0; j < shape.keys(); j++) {
                Elements.load(in.k(), offset(shape.k(), j), width, keys[j], 0);
                Elements.load(in.v(), offset(shape.v(), j), width, values[j], 0);
            }
            transpose(keys, keyColumns);
        }

        long offset(Strides strides, int row) {
            return sample * strides.batch() + head * strides.head() + row * strides.row();
        }

        /** Index of a query among all queries of all heads. */
        long row(int i) {
            return (sample * shape.heads() + head) * shape.queries() + i;
        }

        long biasRow(int i) {
            long biasSample = shape.biasBatch() == 1 ? 0 : sample;
            if (shape.biasOfKeys()) {
                return biasSample * shape.keys();
            }
            return ((biasSample * shape.heads() + head) * shape.queries() + i) * shape.keys();
        }

        void scores(int i) {
            Elements.load(in.q(), offset(shape.q(), i), query.length, query, 0);
            dot(query, keyColumns, p);
            if (in.bias() != null) {
                Elements.load(in.bias(), biasRow(i), biasRow.length, biasRow, 0);
            }
            for (int j = 0; j < p.length; j++) {
                p[j] = p[j] * shape.scale() + biasRow[j];
            }
            Buffer regions = in.regions();
            if (regions != null) {
                long first = sample % shape.regionBatch() * shape.keys();
                int region = Elements.getInt(regions, first + i);
                for (int j = 0; j < p.length; j++) {
                    p[j] += Elements.getInt(regions, first + j) == region ? 0 : OTHER_REGION;
                }
            }
        }

        double logDenominator() {
            double max = ScalarNorms.max(p);
            return max + Math.log(ScalarNorms.sumExp(p, max));
        }

        void probabilities(double logDenominator) {
            for (int j = 0; j < p.length; j++) {
                p[j] = Math.exp(p[j] - logDenominator);
            }
        }
    }

    /** Gradients of one head of one sample; used by one thread. */
    private static final class Gradient {
        private final AttentionShape shape;
        private final Head head;
        private final Buffer out;
        private final Buffer logSumExp;
        private final Buffer dout;
        private final AttentionTensors to;
        private final double[][] valueColumns;
        private final double[][] dkeys;
        private final double[][] dvalues;
        private final double[] output;
        private final double[] doutput;
        private final double[] dquery;
        private final double[] ds;

        Gradient(AttentionShape shape, Head head, Buffer out, Buffer logSumExp, Buffer dout, AttentionTensors to) {
            this.shape = shape;
            this.head = head;
            this.out = out;
            this.logSumExp = logSumExp;
            this.dout = dout;
            this.to = to;
            this.valueColumns = new double[shape.headDim()][shape.keys()];
            this.dkeys = new double[shape.keys()][shape.headDim()];
            this.dvalues = new double[shape.keys()][shape.headDim()];
            this.output = new double[shape.headDim()];
            this.doutput = new double[shape.headDim()];
            this.dquery = new double[shape.headDim()];
            this.ds = new double[shape.keys()];
        }

        void compute(boolean addToBias) {
            int width = shape.headDim();
            transpose(head.values, valueColumns);
            clear(dkeys);
            clear(dvalues);
            for (int i = 0; i < shape.queries(); i++) {
                query(i, addToBias);
            }
            for (int j = 0; j < shape.keys(); j++) {
                Elements.store(dkeys[j], 0, width, to.k(), head.offset(shape.k(), j));
                Elements.store(dvalues[j], 0, width, to.v(), head.offset(shape.v(), j));
            }
        }

        private void query(int i, boolean addToBias) {
            Elements.load(out, head.offset(shape.out(), i), output.length, output, 0);
            Elements.load(dout, head.offset(shape.out(), i), doutput.length, doutput, 0);
            head.scores(i);
            head.probabilities(Elements.get(logSumExp, head.row(i)));
            addOuter(head.p, doutput, dvalues);
            double mean = 0; // sum over keys of p * dp
            for (int d = 0; d < output.length; d++) {
                mean += output[d] * doutput[d];
            }
            dot(doutput, valueColumns, ds);
            for (int j = 0; j < ds.length; j++) {
                ds[j] = head.p[j] * (ds[j] - mean);
            }
            if (to.bias() != null) {
                storeBias(to.bias(), i, addToBias);
            }
            for (int j = 0; j < ds.length; j++) {
                ds[j] *= shape.scale();
            }
            Arrays.fill(dquery, 0);
            addRows(head.keys, ds, dquery);
            addOuter(ds, head.query, dkeys);
            Elements.store(dquery, 0, dquery.length, to.q(), head.offset(shape.q(), i));
        }

        private void storeBias(Buffer dbias, int i, boolean add) {
            long at = head.biasRow(i);
            if (add) {
                Elements.load(dbias, at, head.biasRow.length, head.biasRow, 0);
                for (int j = 0; j < ds.length; j++) {
                    head.biasRow[j] += ds[j];
                }
                Elements.store(head.biasRow, 0, head.biasRow.length, dbias, at);
            } else {
                Elements.store(ds, 0, ds.length, dbias, at);
            }
        }
    }
}
