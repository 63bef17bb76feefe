// SPDX-License-Identifier: Apache-2.0

// PROTO names hearth's proto/ folder. The well-known types are protoc's own.
fn main() -> Result<(), Box<dyn std::error::Error>> {
    let proto = std::env::var("PROTO")?;
    println!("cargo:rerun-if-env-changed=PROTO");
    tonic_build::configure()
        .build_client(false)
        .generate_default_stubs(true)
        .compile_protos(&[format!("{proto}/hearth/v1/vm.proto")], &[proto])?;
    Ok(())
}
