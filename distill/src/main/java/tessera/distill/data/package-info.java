/**
 * Clips to train and judge on: what a modality is, how large clips are, sets of clips in memory, and folders of one's own.
 *
 * <p>Start at {@link tessera.distill.data.ClipSet}, which every stage takes, and {@link tessera.distill.data.ModalityFolders},
 * which fills it from files. Knows nothing of the built-in benchmark, which is one more thing that fills clip sets.
 */
@NullMarked
package tessera.distill.data;

import org.jspecify.annotations.NullMarked;
