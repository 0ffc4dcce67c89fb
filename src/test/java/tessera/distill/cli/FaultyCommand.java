package tessera.distill.cli;

import tessera.FakeCuda;

/** A command line in a process in which one call of the fake CUDA fails. */
final class FaultyCommand {
    private FaultyCommand() {}

    /**
     * Runs it, and exits with its code.
     *
     * @param args the function that fails, which call of it (0 for all), the status; then the words after {@code tessera}
     */
    public static void main(String[] args) {
        FakeCuda.fail(args[0], Integer.parseInt(args[1]), Integer.parseInt(args[2]));
        Main.main(java.util.Arrays.copyOfRange(args, 3, args.length));
    }
}
