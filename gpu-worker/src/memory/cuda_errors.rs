//! Which CUDA errors a process survives, told from their texts. Pure, but for [`end_worker`].

/// Exit status of a worker whose GPU can no longer be used by this process.
pub const EXIT_STATUS: i32 = 76;

/// What an error says about the device.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Verdict {
    /// Only this call failed.
    Survivable,
    /// The context is lost: every later call of this process fails too.
    Sticky,
    /// The text doesn't tell; a small computation has to.
    Unclear,
}

/// Texts of `cudaGetErrorString` after which the context is lost (codes 4, 214, 220, 226, 702, 709, 710, 714–719).
const STICKY: &[&str] = &[
    "device-side assert triggered",
    "an illegal memory access was encountered",
    "an illegal instruction was encountered",
    "unspecified launch failure",
    "misaligned address",
    "invalid program counter",
    "hardware stack error",
    "operation not supported on global/shared address space",
    "the launch timed out and was terminated",
    "context is destroyed",
    "uncorrectable ecc error",
    "uncorrectable nvlink error",
    "driver shutting down",
    "gpu is lost",
    "fallen off the bus",
];

/// Texts of errors that a launch or an allocation returns before anything ran on the device.
const SURVIVABLE: &[&str] = &[
    "out of memory",
    "invalid argument",
    "invalid configuration argument",
    "invalid device function",
    "invalid resource handle",
    "no kernel image is available",
    "device kernel image is invalid",
    "too many resources requested for launch",
    "operation not supported",
    "cudnn_status_not_supported",
    "cudnn_status_bad_param",
    "cublas_status_not_supported",
    "cublas_status_invalid_value",
];

/// Reads the text of an error, whoever wrapped it. A sticky text wins over a survivable one: libtorch names both when
/// an allocation fails because of an earlier fault.
pub fn classify(text: &str) -> Verdict {
    let text = text.to_ascii_lowercase();
    let names = |known: &[&str]| known.iter().any(|part| text.contains(part));
    if names(STICKY) {
        Verdict::Sticky
    } else if names(SURVIVABLE) {
        Verdict::Survivable
    } else {
        Verdict::Unclear
    }
}

/// Whether the worker has to end after this error; `works` is asked only when the text doesn't tell.
pub fn is_lost(text: &str, works: impl FnOnce() -> bool) -> bool {
    match classify(text) {
        Verdict::Survivable => false,
        Verdict::Sticky => true,
        Verdict::Unclear => !works(),
    }
}

/// Ends the process, so that its supervisor starts another: a lost context does not come back.
pub fn end_worker(device: &str, text: &str) -> ! {
    tracing::error!(device, "the CUDA context is lost, the worker ends: {text}");
    std::process::exit(EXIT_STATUS)
}

#[cfg(test)]
mod tests {
    use super::*;

    /// As libtorch and CUDA's libraries write them; `tch` puts the first two into `Torch("…")`.
    const RECORDED: &[(&str, Verdict)] = &[
        (
            "Torch(\"CUDA error: device-side assert triggered\\nCUDA kernel errors might be asynchronously reported at some \
             other API call, so the stacktrace below might be incorrect.\\nFor debugging consider passing \
             CUDA_LAUNCH_BLOCKING=1\\n\")",
            Verdict::Sticky,
        ),
        (
            "Torch(\"CUDA out of memory. Tried to allocate 20.00 GiB. GPU 0 has a total capacity of 79.11 GiB of which \
             11.69 MiB is free.\")",
            Verdict::Survivable,
        ),
        ("CUDA error: an illegal memory access was encountered", Verdict::Sticky),
        ("CUDA error: an illegal instruction was encountered", Verdict::Sticky),
        ("CUDA error: unspecified launch failure", Verdict::Sticky),
        ("CUDA error: misaligned address", Verdict::Sticky),
        ("CUDA error: invalid program counter", Verdict::Sticky),
        ("CUDA error: hardware stack error", Verdict::Sticky),
        ("CUDA error: operation not supported on global/shared address space", Verdict::Sticky),
        ("CUDA error: the launch timed out and was terminated", Verdict::Sticky),
        ("CUDA error: context is destroyed", Verdict::Sticky),
        ("CUDA error: uncorrectable ECC error encountered", Verdict::Sticky),
        ("CUDA error: uncorrectable NVLink error detected during the execution", Verdict::Sticky),
        ("CUDA error: driver shutting down", Verdict::Sticky),
        ("NVML: GPU is lost", Verdict::Sticky),
        ("CUDA error: out of memory", Verdict::Survivable),
        ("CUDA error: invalid argument", Verdict::Survivable),
        ("CUDA error: invalid configuration argument", Verdict::Survivable),
        ("CUDA error: invalid device function", Verdict::Survivable),
        (
            "CUDA error: no kernel image is available for execution on the device",
            Verdict::Survivable,
        ),
        ("CUDA error: too many resources requested for launch", Verdict::Survivable),
        ("CUDA error: operation not supported", Verdict::Survivable),
        ("cuDNN error: CUDNN_STATUS_NOT_SUPPORTED", Verdict::Survivable),
        ("cuDNN error: CUDNN_STATUS_EXECUTION_FAILED", Verdict::Unclear),
        (
            "CUDA error: CUBLAS_STATUS_EXECUTION_FAILED when calling `cublasSgemm( handle, opa, opb, m, n, k)`",
            Verdict::Unclear,
        ),
        (
            "CUDA error: CUBLAS_STATUS_ALLOC_FAILED when calling `cublasCreate(handle)`",
            Verdict::Unclear,
        ),
        ("CUDA error: unknown error", Verdict::Unclear),
        ("CUDA error: initialization error", Verdict::Unclear),
        ("CUDA error: CUDA-capable device(s) is/are busy or unavailable", Verdict::Unclear),
        // Shapes that don't fit say nothing about the device.
        ("mat1 and mat2 shapes cannot be multiplied (2x3 and 4x5)", Verdict::Unclear),
    ];

    #[test]
    fn recorded_texts_are_told_apart() {
        for &(text, verdict) in RECORDED {
            assert_eq!(classify(text), verdict, "{text}");
        }
    }

    #[test]
    fn an_allocation_that_fails_after_a_fault_is_sticky() {
        let text =
            "CUDA out of memory, after: CUDA error: an illegal memory access was encountered";
        assert_eq!(classify(text), Verdict::Sticky);
    }

    #[test]
    fn only_an_unclear_text_asks_the_device() {
        let unasked = || -> bool { panic!("it was asked") };
        assert!(is_lost("CUDA error: misaligned address", unasked));
        assert!(!is_lost("CUDA error: out of memory", unasked));
        assert!(is_lost("CUDA error: unknown error", || false));
        assert!(!is_lost("CUDA error: unknown error", || true));
    }
}
