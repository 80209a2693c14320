//! Lets the training benchmark find libtorch at run time without `LD_LIBRARY_PATH`.

fn main() {
    println!("cargo:rerun-if-env-changed=LIBTORCH");
    println!("cargo:rerun-if-changed=build.rs");
    if let Ok(libtorch) = std::env::var("LIBTORCH") {
        // RPATH, not RUNPATH: it must also serve the libraries that libtorch itself loads.
        println!("cargo:rustc-link-arg-bin=ursa-bench-train=-Wl,--disable-new-dtags,-rpath,{libtorch}/lib");
    }
}
