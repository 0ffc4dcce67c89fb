/**
 * Recognising what videos show, the door for an application. Start at {@link tessera.nn.inference.Predictor}, which takes frames
 * of any size, or at {@link tessera.nn.inference.StreamPredictor} for frames as they arrive; {@link tessera.nn.inference.Student} is
 * the model below, {@link tessera.nn.inference.Head} a classifier on its features, and {@link tessera.nn.inference.Masking} says
 * which tokens it looks at.
 */
@NullMarked
package tessera.nn.inference;

import org.jspecify.annotations.NullMarked;
