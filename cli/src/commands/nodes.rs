//! `muster nodes`

use std::process::ExitCode;

use muster_client::api;

use crate::args::{Global, Nodes, NodesCommand};
use crate::connect::connect;
use crate::exit::Failure;
use crate::output::{line, print_list};

pub(super) async fn run(global: &Global, args: &Nodes) -> Result<ExitCode, Failure> {
    let client = connect(global)?;
    if let Some(NodesCommand::Remove { name }) = &args.command {
        client.remove_node(name).await?;
        line(format!("node/{name} removed"));
        return Ok(ExitCode::SUCCESS);
    }
    let request = api::ListRequest { kind: "nodes".into(), ..api::ListRequest::default() };
    let reply = client.list(request).await?;
    print_list(&reply.items, (args.output.output, false))?;
    Ok(ExitCode::SUCCESS)
}
