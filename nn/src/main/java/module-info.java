/** Layers, models, optimisers and the student an embedder holds. */
module tessera.nn {
    requires transitive tessera.tensor;
    requires static org.jspecify;

    exports tessera.nn;
    exports tessera.nn.inference;
}
