//! The macros that make a crate a plugin.
//!
//! They emit two statics, the manifest and abi_stable's header, and no `unsafe` block, so an
//! author's crate compiles under `#![forbid(unsafe_code)]`. All paths lead through this crate, so
//! the author needs no other dependency.

/// Exports a [`Producer`](crate::Producer) as the plugin of this `cdylib`. Call it once in a crate.
///
/// The crate's `Cargo.toml` needs `[lib] crate-type = ["cdylib"]`.
#[macro_export]
macro_rules! export_producer {
    ($producer:ty) => {
        $crate::__export!($crate::PluginKind::Producer, $crate::__private::producer_header::<$producer>());
    };
}

/// Exports a [`Commander`](crate::Commander) as the plugin of this `cdylib`. Call it once in a
/// crate.
///
/// The crate's `Cargo.toml` needs `[lib] crate-type = ["cdylib"]`.
#[macro_export]
macro_rules! export_commander {
    ($commander:ty) => {
        $crate::__export!($crate::PluginKind::Commander, $crate::__private::commander_header::<$commander>());
    };
}

#[doc(hidden)]
#[macro_export]
macro_rules! __export {
    ($kind:expr, $header:expr) => {
        const _: () = {
            #[used]
            #[unsafe(export_name = "cobuf_manifest")]
            #[unsafe(link_section = ".cobuf.manifest")]
            static MANIFEST: $crate::Manifest = $crate::Manifest::new(
                $kind,
                ::core::env!("CARGO_PKG_NAME"),
                ::core::env!("CARGO_PKG_VERSION"),
                ::core::cfg!(panic = "abort"),
            );

            #[used]
            #[unsafe(export_name = $crate::__root_module_symbol!())]
            static ROOT_MODULE: $crate::__private::LibHeader = $header;
        };
    };
}

/// abi_stable's name for the root module's static (`ROOT_MODULE_LOADER_NAME`). `export_name` needs
/// it as a literal.
#[doc(hidden)]
#[macro_export]
macro_rules! __root_module_symbol {
    () => {
        "_1as_0lib_1header_0root_bmodule_bloader"
    };
}
