package tessera.kernels.cpu;

import java.lang.reflect.InvocationTargetException;
import java.lang.reflect.Method;
import org.jspecify.annotations.Nullable;

/** Calls of kernels by reflection. */
public final class Reflected {
    private Reflected() {}

    /**
     * Calls a public method of kernels, which declares no exception, and throws whatever that throws itself.
     *
     * @return what it returns, null for void
     */
    public static @Nullable Object call(Object kernels, Method method, @Nullable Object... arguments) {
        try {
            return method.invoke(kernels, arguments);
        } catch (InvocationTargetException e) {
            if (e.getCause() instanceof RuntimeException exception) {
                throw exception;
            }
            if (e.getCause() instanceof Error error) {
                throw error;
            }
            throw new IllegalStateException(method + " threw what it does not declare", e);
        } catch (IllegalAccessException e) {
            throw new IllegalStateException(method + " is not public", e);
        }
    }
}
