package tessera.tensor;

/**
 * Work of one operation.
 *
 * @param flops floating-point operations; one multiply-add counts as 2
 * @param bytes bytes read and written at least once
 */
public record Cost(long flops, long bytes) {
    /** No arithmetic and no traffic, as for a view. */
    public static final Cost NONE = new Cost(0, 0);

    /** Element-wise work: {@code perElement} operations per element of the output, inputs and output moved once. */
    public static Cost elementwise(long perElement, Tensor output, Tensor... inputs) {
        long bytes = output.byteSize();
        for (Tensor input : inputs) {
            bytes += input.byteSize();
        }
        return new Cost(perElement * output.shape().count(), bytes);
    }

    Cost plus(Cost other) {
        return new Cost(flops + other.flops, bytes + other.bytes);
    }
}
