//! Finds the CPU features that a plugin was compiled for and that this machine lacks: the plugin's
//! first such instruction would raise SIGILL.

/// The features in the list that this machine certainly lacks. Features that the standard library
/// cannot detect are assumed to be present.
pub(super) fn missing(needed: &[String]) -> Vec<&str> {
    needed.iter().map(String::as_str).filter(|feature| has(feature) == Some(false)).collect()
}

macro_rules! detect {
    ($detect:ident, $feature:expr; $($name:tt)*) => {
        match $feature {
            $( $name => Some(std::arch::$detect!($name)), )*
            _ => None,
        }
    };
}

#[cfg(target_arch = "x86_64")]
fn has(feature: &str) -> Option<bool> {
    detect!(is_x86_feature_detected, feature;
        "aes" "pclmulqdq" "rdrand" "rdseed" "sse" "sse2" "sse3" "ssse3" "sse4.1" "sse4.2" "sse4a" "sha" "avx" "avx2"
        "avx512f" "avx512cd" "avx512bw" "avx512dq" "avx512vl" "avx512ifma" "avx512vbmi" "avx512vbmi2" "avx512vnni"
        "avx512bitalg" "avx512vpopcntdq" "avx512bf16" "avx512fp16" "gfni" "vaes" "vpclmulqdq" "avxvnni" "f16c" "fma"
        "bmi1" "bmi2" "lzcnt" "popcnt" "movbe" "adx" "cmpxchg16b" "fxsr" "xsave" "xsavec" "xsaveopt" "xsaves")
}

#[cfg(target_arch = "aarch64")]
fn has(feature: &str) -> Option<bool> {
    detect!(is_aarch64_feature_detected, feature;
        "neon" "aes" "sha2" "sha3" "crc" "lse" "rdm" "dotprod" "fp16" "sve" "sve2" "i8mm" "bf16" "rcpc")
}

#[cfg(not(any(target_arch = "x86_64", target_arch = "aarch64")))]
fn has(_feature: &str) -> Option<bool> {
    None
}

#[cfg(all(test, not(cobuf_loom), target_arch = "x86_64"))]
mod tests {
    use super::*;

    #[test]
    fn only_features_known_to_be_missing_are_reported() {
        let needed = ["sse2", "a-feature-of-the-future"].map(str::to_owned);
        assert!(missing(&needed).is_empty());
        assert_eq!(missing(&["sse4a".to_owned()]).is_empty(), std::arch::is_x86_feature_detected!("sse4a"));
    }
}
