/** The stages of multimodal distillation, the EgoSim benchmark, video reading, and the command line. */
module tessera.distill {
    requires transitive tessera.nn;
    requires tessera.natives;
    requires java.desktop;
    requires info.picocli;
    requires org.bytedeco.opencv;
    requires tools.jackson.core;
    requires java.logging;
    requires static org.jspecify;

    exports tessera.distill.data;
    exports tessera.distill.data.annotation;
    exports tessera.distill.demo;
    exports tessera.distill.demo.mmd;
    exports tessera.distill.egosim;
    exports tessera.distill.evaluation;
    exports tessera.distill.fewshot;
    exports tessera.distill.report;
    exports tessera.distill.train;
    exports tessera.distill.video;

    opens tessera.distill.cli to
            info.picocli;
}
