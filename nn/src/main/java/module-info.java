/** Layers, models, optimisers, and what an application recognises videos with. */
module tessera.nn {
    requires transitive tessera.tensor;
    requires static transitive java.desktop;
    requires tools.jackson.core;
    requires static org.jspecify;

    exports tessera.nn;
    exports tessera.nn.audio;
    exports tessera.nn.export;
    exports tessera.nn.inference;
    exports tessera.nn.stlt;
    exports tessera.nn.swin;
    exports tessera.nn.videomae;

    uses tessera.nn.Architecture;

    provides tessera.nn.Architecture with
            tessera.nn.stlt.StltArchitecture,
            tessera.nn.swin.SwinArchitecture,
            tessera.nn.videomae.VideoMaeArchitecture;
}
