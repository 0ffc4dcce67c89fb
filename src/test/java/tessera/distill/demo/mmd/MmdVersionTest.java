package tessera.distill.demo.mmd;

import static org.junit.jupiter.api.Assertions.assertEquals;
import static org.junit.jupiter.api.Assertions.assertThrows;

import java.nio.file.Path;
import org.junit.jupiter.api.Test;
import org.junit.jupiter.api.io.TempDir;
import tessera.distill.demo.DemoFiles;
import tessera.distill.egosim.EgoSim;
import tessera.distill.report.Json;
import tessera.distill.train.Settings;

class MmdVersionTest {
    /** A folder that tells no version of the benchmark is of the first one. */
    @Test
    void aDemoOnAnotherVersionOfTheBenchmarkIsRefused(@TempDir Path folder) {
        MmdPlan plan = MmdPlan.quick(1);
        Settings first = Settings.parse(Json.text(plan, MmdPlan::written)).with("system", "mmd");
        DemoFiles.claim(folder, MmdDemo.PLAN, first, first);
        Exception refused = assertThrows(
                IllegalArgumentException.class,
                () -> DemoFiles.claim(folder, MmdDemo.PLAN, plan.settings(), plan.defaults()));
        assertEquals(
                "demo: " + folder + " holds a demo with other settings (egosim was 1, is " + EgoSim.VERSION
                        + "); use another folder, or delete this one to start again",
                refused.getMessage());
    }
}
