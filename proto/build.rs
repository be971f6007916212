//! Generates the wire types with a compiler written in Rust: no protoc is needed.

fn main() -> Result<(), Box<dyn std::error::Error>> {
    println!("cargo:rerun-if-changed=proto");
    let files = protox::compile(
        [
            "muster/v1/api.proto",
            "muster/v1/agent.proto",
            "muster/v1/peers.proto",
            "muster/v1/members.proto",
            "muster/v1/trust.proto",
        ],
        ["proto"],
    )?;
    tonic_prost_build::configure()
        .bytes(".muster.v1.LogLine.text")
        .bytes(".muster.v1.Object.json")
        .bytes(".muster.v1.PeerMessages.messages")
        .compile_fds(files)?;
    Ok(())
}
