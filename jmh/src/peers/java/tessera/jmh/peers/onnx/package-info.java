/** ONNX Runtime as a peer; built with the Maven profile {@code peers}. */
@NullMarked
package tessera.jmh.peers.onnx;

import org.jspecify.annotations.NullMarked;
