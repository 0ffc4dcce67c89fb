package tessera.spark;

import java.util.ArrayList;
import java.util.LinkedHashMap;
import java.util.List;
import java.util.Map;
import java.util.stream.Stream;
import org.apache.spark.sql.Row;
import org.apache.spark.sql.RowFactory;
import org.apache.spark.sql.types.DataTypes;
import org.apache.spark.sql.types.StructType;
import scala.jdk.javaapi.CollectionConverters;
import tessera.nn.inference.Prediction;
import tessera.nn.inference.Predictor;
import tessera.nn.inference.VideoClip;

/** What is asked of each video, and the columns of the answer. */
enum Question {
    PREDICTION {
        @Override
        StructType addTo(StructType table) {
            StructType answer = new StructType()
                    .add("head", DataTypes.StringType)
                    .add("label", DataTypes.StringType)
                    .add("probability", DataTypes.DoubleType)
                    .add("scores", DataTypes.createMapType(DataTypes.StringType, DataTypes.DoubleType));
            return table.add("clips", DataTypes.IntegerType)
                    .add("label", DataTypes.StringType)
                    .add("probability", DataTypes.DoubleType)
                    .add("answers", DataTypes.createArrayType(answer));
        }

        @Override
        List<Object> answer(Predictor predictor, Stream<VideoClip> clips) {
            List<Prediction> predictions = new ArrayList<>();
            predictor.predictAll(clips, predictions::add);
            Prediction mean = Prediction.mean(predictions);
            Row[] answers = mean.answers().stream().map(Question::row).toArray(Row[]::new);
            return List.of(predictions.size(), mean.label(), mean.probability(), answers);
        }
    },

    FEATURES {
        @Override
        StructType addTo(StructType table) {
            return table.add("clips", DataTypes.IntegerType)
                    .add("features", DataTypes.createArrayType(DataTypes.createArrayType(DataTypes.FloatType)));
        }

        @Override
        List<Object> answer(Predictor predictor, Stream<VideoClip> clips) {
            List<float[]> features = new ArrayList<>();
            predictor.features(clips, batch -> {
                int masks = Math.toIntExact(batch.size(0));
                int count = Math.toIntExact(batch.size(1));
                int width = Math.toIntExact(batch.size(2));
                float[] values = batch.toFloats();
                for (int clip = 0; clip < count; clip++) {
                    features.add(mean(values, masks, count, clip, width));
                }
            });
            return List.of(features.size(), features.toArray(float[][]::new));
        }
    };

    /** A table's columns and those of the answer after them. */
    abstract StructType addTo(StructType table);

    /** Their values. */
    abstract List<Object> answer(Predictor predictor, Stream<VideoClip> clips);

    private static Row row(Prediction.Answer answer) {
        Map<String, Double> scores = new LinkedHashMap<>();
        answer.scores().forEach(score -> scores.put(score.label(), score.probability()));
        return RowFactory.create(
                answer.head(), answer.label(), answer.probability(), CollectionConverters.asScala(scores));
    }

    /** The feature of a clip of {@code [masks, count, width]}, the mean over the masks. */
    private static float[] mean(float[] values, int masks, int count, int clip, int width) {
        float[] mean = new float[width];
        for (int i = 0; i < width; i++) {
            double sum = 0;
            for (int mask = 0; mask < masks; mask++) {
                sum += values[(mask * count + clip) * width + i];
            }
            mean[i] = (float) (sum / masks);
        }
        return mean;
    }
}
