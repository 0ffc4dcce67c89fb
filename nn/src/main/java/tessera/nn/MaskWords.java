package tessera.nn;

import java.lang.reflect.InvocationTargetException;
import org.jspecify.annotations.Nullable;
import tessera.tensor.TokenMask;

/** Reads the words of mask strategies, and finds the classes that some of them name. */
final class MaskWords {
    private MaskWords() {}

    static MaskStrategy strategy(String word) {
        int colon = word.indexOf(':');
        String name = colon < 0 ? word : word.substring(0, colon);
        String text = colon < 0 ? null : word.substring(colon + 1);
        if (name.equals("running") && text != null) {
            return RunningCells.of(text);
        }
        MaskStrategy builtIn = builtIn(name);
        if (builtIn == null) {
            return new Own(word, made(name, text));
        }
        if (text != null) {
            throw new IllegalArgumentException(
                    "mask strategy '" + word + "': " + name + " takes no parameter; pass " + name);
        }
        return builtIn;
    }

    private static @Nullable MaskStrategy builtIn(String name) {
        return switch (name) {
            case "tube" -> MaskStrategy.tubes();
            case "pairs" -> MaskStrategy.pairs();
            case "partition" -> MaskStrategy.partition();
            case "per-slot" -> MaskStrategy.perSlot();
            case "running" -> MaskStrategy.running();
            case "motion" -> MaskStrategy.motion();
            case "saliency" -> MaskStrategy.saliency();
            default -> null;
        };
    }

    private static MaskStrategy made(String name, @Nullable String text) {
        Class<?> found = found(name);
        if (!MaskStrategy.class.isAssignableFrom(found)) {
            throw new IllegalArgumentException("mask strategy '" + name + "' is a class that does not implement "
                    + MaskStrategy.class.getName() + "; let it, or name another");
        }
        try {
            return (MaskStrategy)
                    (text == null
                            ? found.getConstructor().newInstance()
                            : found.getConstructor(String.class).newInstance(text));
        } catch (NoSuchMethodException e) {
            throw new IllegalArgumentException(
                    "mask strategy '" + name + "' has no public constructor "
                            + (text == null
                                    ? "without parameters; give it one, or pass NAME:TEXT for one of a string"
                                    : "of a string, which is to take '" + text
                                            + "'; give it one, or pass the name alone"),
                    e);
        } catch (InvocationTargetException e) {
            throw new IllegalArgumentException(
                    "mask strategy '" + name + "' cannot be made: " + said(e.getCause()) + "; mend it, or name another",
                    e);
        } catch (InstantiationException | IllegalAccessException e) {
            throw new IllegalArgumentException(
                    "mask strategy '" + name + "' is abstract or not public; name a public class", e);
        } catch (LinkageError e) {
            throw new IllegalArgumentException(
                    "mask strategy '" + name + "' cannot be made: " + said(e) + "; mend it, or name another", e);
        }
    }

    private static String said(@Nullable Throwable problem) {
        return problem == null ? "it does not say why" : problem.toString();
    }

    /** A class beside the one who calls or, as a service's would be, beside this library. */
    private static Class<?> found(String name) {
        ClassLoader own = MaskStrategy.class.getClassLoader();
        ClassLoader callers = Thread.currentThread().getContextClassLoader();
        try {
            return Class.forName(name, true, callers == null ? own : callers);
        } catch (ClassNotFoundException e) {
            throw new IllegalArgumentException(
                    "mask strategy '" + name + "' is none; pass " + String.join(", ", MaskStrategy.WORDS)
                            + ", running:N, or the name of a class on the class path (TESSERA_CLASS_PATH for ./tessera) that implements "
                            + MaskStrategy.class.getName(),
                    e);
        } catch (LinkageError e) {
            throw new IllegalArgumentException(
                    "mask strategy '" + name + "' cannot be loaded: " + said(e) + "; mend it, or name another", e);
        }
    }

    /** A strategy of a user's class under the word that names it and its parameter. */
    private record Own(String word, MaskStrategy strategy) implements MaskStrategy {
        @Override
        public TokenMask draw(MaskContext context) {
            return strategy.draw(context);
        }

        @Override
        public boolean recordable() {
            return strategy.recordable();
        }

        @Override
        public boolean showsTubes() {
            return strategy.showsTubes();
        }

        @Override
        public boolean looksBack() {
            return strategy.looksBack();
        }
    }
}
