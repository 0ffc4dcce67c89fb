/** Panama bindings and library loading; the only module that makes native calls. */
module tessera.natives {
    requires static jcuda;
    requires static org.jspecify;

    exports tessera.natives to
            tessera.kernels,
            tessera.tensor,
            tessera.distill;
    exports tessera.natives.cuda to
            tessera.kernels;
    exports tessera.natives.onednn to
            tessera.kernels;
    exports tessera.natives.interop;
}
