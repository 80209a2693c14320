//! Lets the benchmarks that train find libtorch at run time without `LD_LIBRARY_PATH`.

fn main() {
    println!("cargo:rerun-if-env-changed=LIBTORCH");
    println!("cargo:rerun-if-changed=build.rs");
    if std::env::var_os("CARGO_FEATURE_TRAIN").is_none() {
        return;
    }
    if let Ok(libtorch) = std::env::var("LIBTORCH") {
        // RPATH, not RUNPATH: it must also serve the libraries that libtorch itself loads.
        for program in ["ursa-bench-train", "ursa-bench-accuracy"] {
            println!("cargo:rustc-link-arg-bin={program}=-Wl,--disable-new-dtags,-rpath,{libtorch}/lib");
        }
    }
}
