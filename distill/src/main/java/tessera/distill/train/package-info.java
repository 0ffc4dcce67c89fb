/**
 * Training: a {@link tessera.distill.train.Stage} is a recipe, a student, frozen teachers, objectives, sources of batches, a mask
 * strategy and what is written at the end; {@link tessera.distill.train.Trainer} runs, resumes and finishes any of them.
 *
 * <p>Start at {@link tessera.distill.train.Pretraining} and {@link tessera.distill.train.Distillation}, the two stages of
 * MM-CDFSL, which are short declarations; a stage of one's own is another. {@link tessera.distill.train.Objective}s mix freely.
 */
@NullMarked
package tessera.distill.train;

import org.jspecify.annotations.NullMarked;
