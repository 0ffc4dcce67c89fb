package tessera.natives.cuda;

import java.lang.annotation.ElementType;
import java.lang.annotation.Retention;
import java.lang.annotation.RetentionPolicy;
import java.lang.annotation.Target;

/**
 * What a constant is called in C: the name of an enum's value, or an expression such as {@code sizeof(CUmemPoolProps)}.
 * On a class: the header that its constants come from. Where that header is, a test compares the two.
 */
@Retention(RetentionPolicy.RUNTIME)
@Target({ElementType.FIELD, ElementType.TYPE})
public @interface CName {
    /** The name in C. */
    String value();
}
