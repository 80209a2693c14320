//! Has the coordinator compiled again when a migration comes: they are a part of the program.

fn main() {
    println!("cargo::rerun-if-changed=../../migrations");
}
