/* cobuf_manifest.h: COBUF_EXPORT_PRODUCER, for cobuf.h, which includes this file.
 *
 * The macro puts two constants into the library. The first is the manifest, in the ELF section
 * .cobuf.manifest. The host reads it from the file, before any code of the plugin runs; its bytes
 * are those of plugin-api/src/manifest.rs, format 1. The second is the export, which the host finds
 * by the symbol cobuf_producer_export. It points to the table of functions. The macro also defines
 * the variable cobuf_producer_lengths, which cobuf.h explains.
 */
#ifndef COBUF_MANIFEST_H
#define COBUF_MANIFEST_H

#include <stdint.h>

#ifdef __cplusplus
extern "C" {
#endif

/* Texts are padded with zeros. A text that is too long does not compile, or is cut. */
typedef struct cobuf_manifest_bytes {
    char magic[8];
    uint32_t format;
    uint32_t bytes;
    uint32_t kind; /* 2: a producer */
    uint32_t aborts;
    char name[96];
    char version[32];
    char api_version[32];
    char compiler[96];
    char target[64];
    char cpu_features[2048];
} cobuf_manifest_bytes;

/* The host checks this before it uses the tables. It refuses a plugin whose compiler laid the
 * structs out differently. */
typedef struct cobuf_export {
    uint32_t version;        /* COBUF_C_VERSION */
    uint32_t producer_bytes; /* the sizes of the structs, as this compiler sees them */
    uint32_t host_bytes;
    uint32_t call_bytes;
    uint32_t job_bytes;
    uint32_t array_bytes;
    const cobuf_producer *producer;
} cobuf_export;

#define COBUF_TEXT_(value) #value
#define COBUF_TEXT(value) COBUF_TEXT_(value)
#define COBUF_DOTTED(a, b, c) COBUF_TEXT(a) "." COBUF_TEXT(b) "." COBUF_TEXT(c)

#if defined(__clang__)
#define COBUF_COMPILER "clang " COBUF_DOTTED(__clang_major__, __clang_minor__, __clang_patchlevel__)
#elif defined(__GNUC__)
#define COBUF_COMPILER "gcc " COBUF_DOTTED(__GNUC__, __GNUC_MINOR__, __GNUC_PATCHLEVEL__)
#else
#error "cobuf.h needs gcc or clang: it puts the manifest into an ELF section"
#endif

#ifdef __cplusplus
#define COBUF_LANGUAGE " (C++)"
#else
#define COBUF_LANGUAGE " (C)"
#endif

#if defined(__x86_64__)
#define COBUF_ARCHITECTURE "x86_64"
#elif defined(__aarch64__)
#define COBUF_ARCHITECTURE "aarch64"
#else
#error "cobuf runs on x86_64 and aarch64"
#endif

#if defined(__GLIBC__)
#define COBUF_TARGET COBUF_ARCHITECTURE "-unknown-linux-gnu"
#else
#define COBUF_TARGET COBUF_ARCHITECTURE "-unknown-linux-musl"
#endif

/* The instructions that the compiler was allowed to use beyond the architecture's own, as with
 * -march=native. The host refuses the plugin on a machine without them, because it would crash
 * there. Code that chooses at run time is not covered. */
#ifdef __SSE3__
#define COBUF_CPU_SSE3 "sse3,"
#else
#define COBUF_CPU_SSE3 ""
#endif
#ifdef __SSSE3__
#define COBUF_CPU_SSSE3 "ssse3,"
#else
#define COBUF_CPU_SSSE3 ""
#endif
#ifdef __SSE4_1__
#define COBUF_CPU_SSE4_1 "sse4.1,"
#else
#define COBUF_CPU_SSE4_1 ""
#endif
#ifdef __SSE4_2__
#define COBUF_CPU_SSE4_2 "sse4.2,"
#else
#define COBUF_CPU_SSE4_2 ""
#endif
#ifdef __POPCNT__
#define COBUF_CPU_POPCNT "popcnt,"
#else
#define COBUF_CPU_POPCNT ""
#endif
#ifdef __LZCNT__
#define COBUF_CPU_LZCNT "lzcnt,"
#else
#define COBUF_CPU_LZCNT ""
#endif
#ifdef __BMI__
#define COBUF_CPU_BMI1 "bmi1,"
#else
#define COBUF_CPU_BMI1 ""
#endif
#ifdef __BMI2__
#define COBUF_CPU_BMI2 "bmi2,"
#else
#define COBUF_CPU_BMI2 ""
#endif
#ifdef __FMA__
#define COBUF_CPU_FMA "fma,"
#else
#define COBUF_CPU_FMA ""
#endif
#ifdef __F16C__
#define COBUF_CPU_F16C "f16c,"
#else
#define COBUF_CPU_F16C ""
#endif
#ifdef __AVX__
#define COBUF_CPU_AVX "avx,"
#else
#define COBUF_CPU_AVX ""
#endif
#ifdef __AVX2__
#define COBUF_CPU_AVX2 "avx2,"
#else
#define COBUF_CPU_AVX2 ""
#endif
#ifdef __AVX512F__
#define COBUF_CPU_AVX512F "avx512f,"
#else
#define COBUF_CPU_AVX512F ""
#endif
#ifdef __AVX512BW__
#define COBUF_CPU_AVX512BW "avx512bw,"
#else
#define COBUF_CPU_AVX512BW ""
#endif
#ifdef __AVX512VL__
#define COBUF_CPU_AVX512VL "avx512vl,"
#else
#define COBUF_CPU_AVX512VL ""
#endif
#ifdef __ARM_FEATURE_ATOMICS
#define COBUF_CPU_LSE "lse,"
#else
#define COBUF_CPU_LSE ""
#endif
#ifdef __ARM_FEATURE_SVE
#define COBUF_CPU_SVE "sve,"
#else
#define COBUF_CPU_SVE ""
#endif

#define COBUF_CPU_FEATURES                                                                                       \
    COBUF_CPU_SSE3 COBUF_CPU_SSSE3 COBUF_CPU_SSE4_1 COBUF_CPU_SSE4_2 COBUF_CPU_POPCNT COBUF_CPU_LZCNT            \
    COBUF_CPU_BMI1 COBUF_CPU_BMI2 COBUF_CPU_FMA COBUF_CPU_F16C COBUF_CPU_AVX COBUF_CPU_AVX2 COBUF_CPU_AVX512F    \
    COBUF_CPU_AVX512BW COBUF_CPU_AVX512VL COBUF_CPU_LSE COBUF_CPU_SVE

/* Makes the constants survive the compiler, the linker's --gc-sections, strip, and
 * -fvisibility=hidden. */
#if defined(__has_attribute)
#if __has_attribute(retain)
#define COBUF_RETAIN , retain
#endif
#endif
#ifndef COBUF_RETAIN
#define COBUF_RETAIN
#endif
#define COBUF_KEPT __attribute__((used COBUF_RETAIN))
#define COBUF_VISIBLE __attribute__((visibility("default")))

/* Exports a producer as this library's plugin: name and version as texts, and a static const
 * cobuf_producer. Use it once in a library, at the end of a file; it needs no semicolon. */
#define COBUF_EXPORT_PRODUCER(plugin_name, plugin_version, table)                                                \
    COBUF_BEGIN_C                                                                                                \
    COBUF_VISIBLE __attribute__((section(".cobuf.manifest"))) extern const cobuf_manifest_bytes cobuf_manifest;  \
    COBUF_VISIBLE extern const cobuf_export cobuf_producer_export;                                               \
    COBUF_KEPT const cobuf_lengths *cobuf_producer_lengths = 0;                                                  \
    COBUF_KEPT const cobuf_manifest_bytes cobuf_manifest = {                                                     \
        "\x7f" "cobuf\n", 1, sizeof(cobuf_manifest_bytes), 2, 0, plugin_name, plugin_version,                    \
        "C/" COBUF_TEXT(COBUF_C_VERSION), COBUF_COMPILER COBUF_LANGUAGE, COBUF_TARGET, COBUF_CPU_FEATURES};      \
    COBUF_KEPT const cobuf_export cobuf_producer_export = {                                                      \
        COBUF_C_VERSION,   sizeof(cobuf_producer), sizeof(cobuf_host), sizeof(cobuf_call),                       \
        sizeof(cobuf_job), sizeof(cobuf_array),    &(table)};                                                    \
    COBUF_END_C

#ifdef __cplusplus
#define COBUF_BEGIN_C extern "C" {
#define COBUF_END_C }
}
#else
#define COBUF_BEGIN_C
#define COBUF_END_C
#endif

#endif
