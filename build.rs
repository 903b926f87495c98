//! Compiles the gRPC face's `.proto` into the descriptors that it is served from; nothing has to be installed for it.

use std::path::PathBuf;

fn main() -> Result<(), Box<dyn std::error::Error>> {
    println!("cargo:rerun-if-changed=proto");
    let mut compiler = protox::Compiler::new(["proto"])?;
    // The comments are part of the descriptions that are made of it.
    compiler.include_source_info(true).include_imports(true);
    compiler.open_file("mixminus/v1/mixminus.proto")?;
    let out = PathBuf::from(std::env::var("OUT_DIR")?).join("mixminus.bin");
    std::fs::write(out, compiler.encode_file_descriptor_set())?;
    Ok(())
}
