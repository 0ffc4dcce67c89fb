/**
 * What data sets say of their videos: which part of which shows what. Start at {@link tessera.distill.data.annotation.Annotations}.
 */
@NullMarked
package tessera.distill.data.annotation;

import org.jspecify.annotations.NullMarked;
