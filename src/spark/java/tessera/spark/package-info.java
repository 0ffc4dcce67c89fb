/** What students see in the videos of a table of Apache Spark. Start with {@link tessera.spark.VideoTable}. */
@NullMarked
package tessera.spark;

import org.jspecify.annotations.NullMarked;
