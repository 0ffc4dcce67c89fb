/**
 * Students for other programs: {@link tessera.nn.export.HuggingFaceModel} writes what transformers loads, {@link
 * tessera.nn.export.OnnxModel} what ONNX Runtime and its like run.
 */
@NullMarked
package tessera.nn.export;

import org.jspecify.annotations.NullMarked;
