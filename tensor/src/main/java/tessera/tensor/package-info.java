/**
 * Tensors on CPU and GPU, the operations on them, and their gradients.
 *
 * <p>Start at {@link tessera.tensor.Tensor}, whose methods are the operations, and {@link tessera.tensor.Scope}, which frees
 * what they make. {@link tessera.tensor.Op} is what an operation consists of, Tessera's as well as a user's: shape rule,
 * forward, gradient and cost. Tessera's own are grouped as the kernels that they call: {@code ElementwiseOps}, {@code
 * MatmulOps}, {@code NormsOps}, {@code AttentionOps}, {@code PatchesOps}, {@code TokensOps}, {@code RandomOps}, {@code
 * LossesOps}, and {@code ViewOps} for those that only look at memory in another way. {@link tessera.tensor.Patches}, {@link
 * tessera.tensor.Tokens}, {@link tessera.tensor.TokenMask} and {@link tessera.tensor.Losses} are the doors to what video
 * models need besides.
 *
 * <p>{@link tessera.tensor.Autograd} records and walks backwards, {@link tessera.tensor.GradientCheck} compares a gradient
 * with finite differences, {@link tessera.tensor.CostMeter} counts work.
 */
@NullMarked
package tessera.tensor;

import org.jspecify.annotations.NullMarked;
