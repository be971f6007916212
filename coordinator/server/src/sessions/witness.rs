//! What a member tells an agent that hears of no leader.

use muster_proto::v1 as wire;
use tonic::{Request, Response, Status};

use crate::brain::Brain;

/// The gRPC service.
#[derive(Debug, Clone)]
pub(crate) struct WitnessService(pub(crate) Brain);

#[tonic::async_trait]
impl wire::witness_server::Witness for WitnessService {
    /// A leader that does not know yet that it is deposed counts, too: the agent then only stops too early.
    async fn ask(&self, _: Request<wire::AskRequest>) -> Result<Response<wire::AskReply>, Status> {
        let role = self.0.role();
        let leader = role.leads || role.leader.is_some();
        Ok(Response::new(wire::AskReply { leader }))
    }
}
