package tessera.natives;

import static java.util.Objects.requireNonNull;
import static org.junit.jupiter.api.Assertions.assertEquals;
import static org.junit.jupiter.api.Assertions.assertFalse;
import static org.junit.jupiter.api.Assertions.assertTrue;

import java.util.List;
import org.junit.jupiter.api.Test;
import tessera.natives.cuda.CudaException;
import tessera.natives.cuda.CudaStatus;

/** What a failed call of the driver says. */
class CudaExceptionTest {
    private static CudaException failure(CudaStatus status) {
        return CudaException.driver("cuCall", status.code(), status.name(), "the driver's words");
    }

    @Test
    void saysCallCodeWordsAndRemedyInOneLine() {
        CudaException e = failure(CudaStatus.CUDA_ERROR_OUT_OF_MEMORY);
        assertEquals(
                "cuCall failed: CUDA_ERROR_OUT_OF_MEMORY (2), the driver's words; use a smaller batch, close tensors and"
                        + " sessions no longer needed, or see with nvidia-smi who else holds memory",
                e.getMessage());
        assertTrue(e.outOfMemory());
        assertFalse(e.deviceLost());
    }

    @Test
    void errorsThatComeLateSayHowToFindTheKernel() {
        for (int code : List.of(700, 710, 714, 715, 716, 717, 718, 719)) {
            CudaException e = CudaException.driver("cuStreamSynchronize", code, "CUDA_ERROR", "");
            for (String word : List.of("-Dtessera.cuda.debug=true", "CUDA_LAUNCH_BLOCKING=1", "compute-sanitizer")) {
                assertTrue(e.advice().contains(word), e.getMessage());
            }
            assertTrue(e.deviceLost(), e.getMessage());
        }
    }

    @Test
    void everyKnownFailureSaysWhatToDoAndFitsInALine() {
        List<CudaStatus> plain = List.of(CudaStatus.CUDA_SUCCESS, CudaStatus.CUDA_ERROR_NOT_READY);
        for (CudaStatus status : CudaStatus.values()) {
            CudaException e = failure(status);
            assertEquals(plain.contains(status), e.advice().isEmpty(), e.getMessage());
            assertEquals(1, requireNonNull(e.getMessage()).lines().count());
        }
        assertTrue(failure(CudaStatus.CUDA_ERROR_DEVICE_UNAVAILABLE).deviceLost());
        assertTrue(requireNonNull(failure(CudaStatus.CUDA_ERROR_NO_DEVICE).getMessage())
                .contains("CUDA_VISIBLE_DEVICES"));
    }

    @Test
    void anUnknownCodeIsToldAsItIsWithWhomToTell() {
        CudaException e = CudaException.driver("cuCall", 12345, "CUDA_ERROR_NEW", "");
        assertTrue(
                requireNonNull(e.getMessage()).startsWith("cuCall failed: CUDA_ERROR_NEW (12345); "), e.getMessage());
        assertTrue(e.advice().contains("report it with the command"), e.advice());
        assertFalse(e.deviceLost() || e.outOfMemory());
    }
}
