/**
 * What models are made of: layers with their {@link tessera.nn.Params parameters}, the optimiser, {@link tessera.nn.Checkpoint
 * files}, and the interfaces through which inference and training use a model of any {@link tessera.nn.Architecture}. Start at
 * {@link tessera.nn.VideoModel}; the models lie in packages of their own below, an application starts at {@code
 * tessera.nn.inference}.
 *
 * <p>Layers, like models, are built, trained, packed and closed by one thread; forward passes of several threads may run at the same time
 * once that is done. Parameters belong to the {@link tessera.nn.Params} that layers are built from.
 */
@NullMarked
package tessera.nn;

import org.jspecify.annotations.NullMarked;
