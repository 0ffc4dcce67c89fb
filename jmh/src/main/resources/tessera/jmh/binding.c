// The same small function for every way of calling it: a sum over memory, and the entry point that JNI looks for.
#include <stdint.h>

double tessera_sum(const double *values, int64_t count) {
    double sum = 0;
    for (int64_t i = 0; i < count; i++) {
        sum += values[i];
    }
    return sum;
}

// JNIEnv and the class are not used, so jni.h is not needed.
double Java_tessera_jmh_BindingBenchmark_jni(void *env, void *type, int64_t values, int64_t count) {
    (void) env;
    (void) type;
    return tessera_sum((const double *) (intptr_t) values, count);
}
