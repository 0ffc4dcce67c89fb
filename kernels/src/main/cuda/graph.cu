// What goes before a graph: the numbers in which this launch of it differs from others. See CudaGraph.java.
#include "tessera.cuh"

struct WriteVariablesArgs {
    Variables* to;
    Variables values;
};

/** One thread. The values come as parameters, so that no copy from the host's memory holds the launch up. */
KERNEL(32, write_variables, WriteVariablesArgs) {
    *args.to = args.values;
}
