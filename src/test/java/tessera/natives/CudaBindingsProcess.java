package tessera.natives;

import com.tngtech.archunit.core.domain.JavaClass;
import com.tngtech.archunit.core.importer.ClassFileImporter;
import java.lang.invoke.MethodType;
import java.lang.reflect.Field;
import java.util.stream.Collectors;
import java.util.stream.Stream;
import tessera.natives.cuda.CName;
import tessera.natives.cuda.CudaLibrary;

/**
 * Prints what the CUDA bindings believe of C: a line {@code constant HEADER VALUE NAME EXPRESSION} for each marked
 * constant, and a line {@code function NAME RESULT(ARGUMENTS)} for each function. A process of its own, because reading
 * the bindings decides for the whole process which libraries are used.
 */
public final class CudaBindingsProcess {
    private CudaBindingsProcess() {}

    public static void main(String[] args) throws ReflectiveOperationException {
        for (JavaClass found : new ClassFileImporter().importPackages("tessera.natives.cuda")) {
            Class<?> type = Class.forName(found.getName());
            CName header = type.getAnnotation(CName.class);
            if (header == null) {
                continue;
            }
            for (Field field : type.getDeclaredFields()) {
                CName name = field.getAnnotation(CName.class);
                field.setAccessible(true);
                if (field.isEnumConstant()) {
                    Object code = type.getMethod("code").invoke(field.get(null));
                    constant(header, code, field, field.getName());
                } else if (name != null) {
                    constant(header, field.get(null), field, name.value());
                }
            }
        }
        CudaLibrary.signatures()
                .forEach((name, type) -> System.out.println("function " + name + " " + signature(type)));
    }

    private static void constant(CName header, Object value, Field field, String expression) {
        System.out.println("constant " + header.value() + " " + value + " "
                + field.getDeclaringClass().getSimpleName() + "." + field.getName() + " " + expression);
    }

    private static String signature(MethodType type) {
        return Stream.concat(Stream.of(type.returnType()), type.parameterList().stream())
                .map(CudaBindingsProcess::letter)
                .collect(Collectors.joining());
    }

    /** How C passes a value: by its size in an integer register, or as a floating-point number. */
    private static String letter(Class<?> type) {
        return switch (type.getSimpleName()) {
            case "void" -> "v";
            case "byte", "boolean" -> "1";
            case "short" -> "2";
            case "int" -> "4";
            case "long", "MemorySegment" -> "8";
            case "float" -> "f";
            case "double" -> "d";
            default -> throw new IllegalStateException("no C type for " + type);
        };
    }
}
