package tessera.distill.cli;

import java.io.ByteArrayOutputStream;
import java.io.IOException;
import java.io.OutputStream;
import java.io.PrintStream;
import java.io.UncheckedIOException;
import java.nio.charset.StandardCharsets;
import java.util.Arrays;

/**
 * A command line whose process gets a signal at an exact moment: when it shows a line of progress for the n-th time. The thread
 * that works waits until the signal was sent, so that it is nowhere else.
 */
final class KilledCommand {
    private KilledCommand() {}

    /**
     * Runs a command.
     *
     * @param args the signal, such as {@code KILL}; how the line begins; its number, from 1; the words of the command
     */
    public static void main(String[] args) {
        PrintStream shown = System.err;
        Watch watch = new Watch(shown, args[0], args[1], Integer.parseInt(args[2]));
        System.setErr(new PrintStream(watch, true, StandardCharsets.UTF_8));
        Main.main(Arrays.copyOfRange(args, 3, args.length));
    }

    /** Passes on what is printed and looks at whole lines. */
    private static final class Watch extends OutputStream {
        private final PrintStream shown;
        private final String signal;
        private final String beginning;
        private final ByteArrayOutputStream line = new ByteArrayOutputStream();
        private int missing;

        Watch(PrintStream shown, String signal, String beginning, int number) {
            this.shown = shown;
            this.signal = signal;
            this.beginning = beginning;
            this.missing = number;
        }

        @Override
        public void write(int b) {
            shown.write(b);
            if (b != '\n') {
                line.write(b);
                return;
            }
            String text = line.toString(StandardCharsets.UTF_8);
            line.reset();
            if (text.startsWith(beginning) && --missing == 0) {
                shown.flush();
                send();
            }
        }

        private void send() {
            String command = "kill -s " + signal + " " + ProcessHandle.current().pid();
            try {
                new ProcessBuilder("sh", "-c", command).start().waitFor();
            } catch (IOException e) {
                throw new UncheckedIOException(e);
            } catch (InterruptedException e) {
                Thread.currentThread().interrupt();
            }
        }
    }
}
