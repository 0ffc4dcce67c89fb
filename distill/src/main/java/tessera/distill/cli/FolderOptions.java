package tessera.distill.cli;

import java.nio.file.Path;
import java.util.Set;
import org.jspecify.annotations.Nullable;
import picocli.CommandLine.Option;
import tessera.distill.data.Geometry;
import tessera.distill.data.Modality;
import tessera.distill.data.ModalityFolders;

/** How clips of one's own are read. */
final class FolderOptions {
    @Option(
            names = "--skip-broken",
            description =
                    "Leave clips out that lack a modality or have a broken file, and say how many. Without it they"
                            + " are refused.")
    private boolean skipBroken;

    @Option(
            names = "--flow-bound",
            paramLabel = "PIXELS",
            description = "The motion that level 255 of flow pictures stands for; 0 is as much the other way. Default:"
                    + " ${DEFAULT-VALUE}")
    private double flowBound = ModalityFolders.Options.DEFAULT.flowBound();

    /** Finds and checks clips. */
    ModalityFolders open(Path folder, Set<Modality> modalities, @Nullable Geometry wanted) {
        return ModalityFolders.open(folder, modalities, wanted, new ModalityFolders.Options(skipBroken, flowBound));
    }
}
