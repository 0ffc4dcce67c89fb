package tessera.distill.cli;

/** What a command returns to the shell. */
final class ExitCode {
    static final int OK = 0;
    static final int FAILURE = 1;
    static final int BAD_INPUT = 2;

    private ExitCode() {}
}
