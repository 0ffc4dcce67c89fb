/**
 * The CPU beside its peers: kernels, layers, inference and training, each measured in turn with PyTorch and ONNX Runtime on the same
 * weights and inputs, and compared with what they compute. Start at {@link tessera.jmh.peers.PeerBenchmark}.
 */
@NullMarked
package tessera.jmh.peers;

import org.jspecify.annotations.NullMarked;
