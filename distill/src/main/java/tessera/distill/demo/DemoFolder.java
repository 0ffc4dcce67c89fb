package tessera.distill.demo;

import java.nio.file.Path;
import tessera.distill.data.Modality;
import tessera.distill.demo.DemoResult.Model;
import tessera.distill.train.Distillation;
import tessera.distill.train.Pretraining;

/**
 * Where a seed's models and logs lie.
 *
 * @param demo the demo's folder
 */
record DemoFolder(Path demo, long seed) {
    private Path of(String name) {
        return demo.resolve("seed-" + seed).resolve(name);
    }

    Path pretraining(Modality modality) {
        return of("pretrain-" + modality);
    }

    Path distillation() {
        return of("distill");
    }

    Path pretrained(Modality modality) {
        return pretraining(modality).resolve(Pretraining.MODEL);
    }

    /** A model as a student that looks at a modality. */
    Path student(Model model, Modality modality) {
        Path folder = switch (model) {
            case UNDISTILLED -> of("undistilled");
            case DISTILLED -> distillation();
            case TEACHER -> of("teacher-" + modality);
        };
        return folder.resolve(Distillation.STUDENT);
    }
}
