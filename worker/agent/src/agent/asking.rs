//! Asking members and other agents whether there is a leader, when none is heard.

use std::convert::Infallible;
use std::time::Duration;

use muster_agent_core::{Answer, Questions};
use muster_proto::v1 as wire;
use muster_proto::v1::witness_client::WitnessClient;
use muster_service::{OnEnd, OnStop, TaskKind, Tasks};
use muster_trust::{Dialler, Pass, is_refused};
use tokio::sync::mpsc;
use tonic::service::interceptor::InterceptedService;

const ASK: TaskKind =
    TaskKind { name: "ask-for-leader", on_stop: OnStop::Abort, on_end: OnEnd::Log };
/// Later answers come to nothing: another round has begun.
const ANSWER_WITHIN: Duration = Duration::from_secs(3);

/// What somebody has answered.
#[derive(Debug)]
pub(super) struct Told {
    /// The round of questions.
    pub(super) round: u64,
    /// Who was asked.
    pub(super) address: String,
    /// What came back.
    pub(super) answer: Answer,
}

/// Asks everybody at once; each answer goes into `told`.
pub(super) fn ask(questions: Questions, pass: &Pass, (told, tasks): (&mpsc::Sender<Told>, &Tasks)) {
    let Questions { round, members, witnesses } = questions;
    let of = |all: Vec<String>, dialler: Dialler| {
        all.into_iter().map(move |address| (address, dialler.clone()))
    };
    let members = of(members, pass.dialler().clone());
    for (address, dialler) in members.chain(of(witnesses, pass.dialler().to_agents())) {
        let (pass, told) = (pass.clone(), told.clone());
        tasks.spawn(ASK, async move {
            if let Some(answer) = ask_one(&address, &dialler, pass).await {
                // The agent is going if nobody listens.
                let _ = told.send(Told { round, address, answer }).await;
            }
            Ok::<(), Infallible>(())
        });
    }
}

/// `None`: nothing is heard, and nothing follows from that.
async fn ask_one(address: &str, dialler: &Dialler, pass: Pass) -> Option<Answer> {
    let endpoint = dialler.endpoint(address).ok()?.connect_timeout(ANSWER_WITHIN);
    let channel = dialler.channel(&endpoint);
    let mut client = WitnessClient::new(InterceptedService::new(channel, pass));
    let mut request = tonic::Request::new(wire::AskRequest {});
    request.set_timeout(ANSWER_WITHIN);
    let asked = tokio::time::timeout(ANSWER_WITHIN, client.ask(request)).await.ok()?;
    match asked {
        Ok(reply) if reply.get_ref().leader => Some(Answer::Leader),
        Ok(_) => Some(Answer::NoLeader),
        // Who does not run does not lead.
        Err(status) => is_refused(&status).then_some(Answer::NoLeader),
    }
}

#[cfg(test)]
mod tests {
    use tokio::net::TcpListener;

    use super::*;

    #[tokio::test]
    async fn a_refused_connection_is_an_answer_and_silence_is_none() {
        let pass = Pass::plain("token").unwrap();
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let address = listener.local_addr().unwrap().to_string();
        let asked = ask_one(&address, pass.dialler(), pass.clone());
        // Who accepts and hangs up has said nothing.
        let hangs_up = async { drop(listener.accept().await) };
        let (answer, ()) = tokio::join!(asked, hangs_up);
        assert_eq!(answer, None);
        drop(listener);
        assert_eq!(ask_one(&address, pass.dialler(), pass.clone()).await, Some(Answer::NoLeader));
    }
}
