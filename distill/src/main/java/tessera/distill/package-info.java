/**
 * The second half of the project: everything that teaches and judges a student. Nothing lives here itself; start at {@link
 * tessera.distill.train.Stage} for training, {@link tessera.distill.data.ClipSet} for clips, {@link tessera.distill.fewshot} and
 * {@link tessera.distill.evaluation} for judging, {@link tessera.distill.demo.Demo} for all of it in a row.
 */
@NullMarked
package tessera.distill;

import org.jspecify.annotations.NullMarked;
