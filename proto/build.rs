//! Generates the wire types with a compiler written in Rust: no protoc is needed.

fn main() -> Result<(), Box<dyn std::error::Error>> {
    println!("cargo:rerun-if-changed=proto");
    let files = protox::compile(["muster/v1/api.proto", "muster/v1/agent.proto"], ["proto"])?;
    tonic_prost_build::configure()
        .bytes(".muster.v1.LogLine.text")
        .bytes(".muster.v1.Object.json")
        .compile_fds(files)?;
    Ok(())
}
