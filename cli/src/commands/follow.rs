//! Following one job to its end: its phases on the board, its ranks' output above it.

use std::sync::Arc;
use std::time::Duration;

use muster_client::api::watch_event::Type;
use muster_client::{Client, Error as ClientError, LogStream, api};
use serde_json::{Value, json};
use tokio::sync::Mutex;

use super::printed::Printed;
use super::run::Reconnect;
use super::suspend;
use crate::exit::Failure;
use crate::output::{Board, Painter, elapsed};
use crate::target::Target;

/// Without a terminal passing news are printed at most this often.
const PASSING_NEWS: Duration = Duration::from_secs(5);

/// The pause before a connection that broke is made again.
const AGAIN: Duration = Duration::from_millis(200);
/// How long what was printed last may take to arrive, once it is known that nothing follows.
const LAST_WORDS: Duration = Duration::from_millis(500);

/// How a job ended.
#[derive(Debug, Clone)]
pub(super) enum Ended {
    Succeeded(api::JobSummary),
    Failed(api::JobSummary),
    /// It was deleted.
    Gone,
    /// Ctrl-C.
    Interrupted,
}

/// Follows one job.
pub(super) struct Follower {
    job: api::Ref,
    quiet: bool,
    board: Arc<Mutex<Board>>,
    painter: Painter,
    /// What stands in front of the status when several jobs are followed.
    prefix: String,
    printed: Printed,
    summary: api::JobSummary,
    told: (String, u32, String),
    passing: Option<tokio::time::Instant>,
    interrupted: bool,
}

/// Why a look ended before the job did.
enum Broken {
    /// The connection; worth another try.
    Connection(ClientError),
    Failure(Failure),
}

impl From<ClientError> for Broken {
    fn from(error: ClientError) -> Self {
        if error.is_transient() { Self::Connection(error) } else { Self::Failure(error.into()) }
    }
}

impl Follower {
    pub(super) fn new(
        (job, one_of_many): (api::Ref, bool),
        quiet: bool,
        board: Arc<Mutex<Board>>,
    ) -> Self {
        let name = one_of_many.then(|| job.name.clone());
        Self {
            prefix: name.as_ref().map(|name| format!("{name}: ")).unwrap_or_default(),
            painter: Painter::new(false, name),
            job,
            quiet,
            board,
            printed: Printed::default(),
            summary: api::JobSummary::default(),
            told: Default::default(),
            passing: None,
            interrupted: false,
        }
    }

    pub(super) async fn run(mut self, reconnect: &Reconnect) -> Result<Ended, Failure> {
        let mut client = reconnect.client().await?;
        loop {
            match self.look(&client).await {
                Ok(ended) => return Ok(ended),
                Err(Broken::Failure(failure)) => return Err(failure),
                Err(Broken::Connection(error)) => {
                    let text = format!("{}{error}; the ranks go on, trying again", self.prefix);
                    self.board.lock().await.say(&text);
                    tokio::time::sleep(AGAIN).await;
                    client = reconnect.client().await?;
                }
            }
        }
    }

    async fn look(&mut self, client: &Client) -> Result<Ended, Broken> {
        let mut events = client.watch(self.watch_request()).await?;
        self.printed.read_again();
        let mut logs = self.open_logs(client).await?;
        loop {
            tokio::select! {
                event = events.next() => {
                    let Some(event) = event? else {
                        return Err(Broken::Connection(gone_away(client)));
                    };
                    if self.take_event(event).await {
                        return Ok(Ended::Gone);
                    }
                }
                chunk = next_chunk(&mut logs) => match chunk {
                    Ok(Some(chunk)) => self.print(chunk).await,
                    Ok(None) => logs = None,
                    Err(error) if error.is_transient() => return Err(error.into()),
                    // A rank without a log is no reason to stop looking at the job.
                    Err(error) => {
                        self.board.lock().await.say(&format!("{}{error}", self.prefix));
                        logs = None;
                    }
                },
                _ = tokio::signal::ctrl_c() => {
                    if self.interrupted {
                        return Ok(Ended::Interrupted);
                    }
                    self.interrupt(client).await?;
                }
            }
            if let Some(ended) = self.ended(logs.is_none()) {
                self.drain(&mut logs).await;
                return Ok(ended);
            }
        }
    }

    fn watch_request(&self) -> api::WatchRequest {
        api::WatchRequest {
            kind: self.job.kind.clone(),
            namespace: self.job.namespace.clone(),
            name: self.job.name.clone(),
        }
    }

    async fn open_logs(&self, client: &Client) -> Result<Option<LogStream>, Broken> {
        if self.quiet {
            return Ok(None);
        }
        let request = api::LogsRequest {
            kind: self.job.kind.clone(),
            namespace: self.job.namespace.clone(),
            name: self.job.name.clone(),
            follow: true,
            ..api::LogsRequest::default()
        };
        match client.logs(request).await {
            Ok(stream) => Ok(Some(stream)),
            Err(error) if error.is_not_found() => Ok(None),
            Err(error) => Err(error.into()),
        }
    }

    /// Takes an event; answers whether the job is gone.
    async fn take_event(&mut self, event: api::WatchEvent) -> bool {
        let kind = event.r#type();
        let ours = event
            .object
            .as_ref()
            .and_then(|object| object.r#ref.as_ref())
            .is_some_and(|reference| reference.uid == self.job.uid);
        match kind {
            Type::Deleted => return ours,
            // The job was deleted before the watch began.
            Type::Synced => return self.summary.phase.is_empty(),
            _ if !ours => return false,
            _ => {}
        }
        if let Some(summary) = event.object.and_then(|object| object.summary) {
            self.summary = summary;
            self.show().await;
        }
        false
    }

    async fn show(&mut self) {
        let summary = &self.summary;
        let waits = summary.gang_phase == "Waiting";
        let lasting_detail = if waits { summary.detail.clone() } else { String::new() };
        let news = (summary.phase.clone(), summary.generation, lasting_detail);
        let lasting = news != self.told;
        let now = tokio::time::Instant::now();
        let passing = self.passing.is_none_or(|last| now.duration_since(last) >= PASSING_NEWS);
        if lasting {
            self.told = news;
        }
        if lasting || passing {
            self.passing = Some(now);
        }
        let status = format!("{}{}", self.prefix, status_line(summary));
        self.board.lock().await.show(&status, lasting || passing);
    }

    async fn print(&mut self, mut chunk: api::LogChunk) {
        self.printed.take(&mut chunk);
        if !chunk.lines.is_empty() {
            let bytes = self.painter.paint(&chunk);
            self.board.lock().await.print(&bytes);
        }
    }

    /// The first Ctrl-C holds the job back: its ranks stop, and nothing is lost.
    async fn interrupt(&mut self, client: &Client) -> Result<(), Broken> {
        self.interrupted = true;
        let target = Target { kind: self.job.kind.clone(), name: self.job.name.clone() };
        let name = &self.job.name;
        self.board.lock().await.say(&format!(
            "\n{name} is being suspended; `muster resume {name}` lets it go on, `muster delete {name}` \
             removes it. Ctrl-C again leaves without waiting."
        ));
        let set = suspend::set(client, (&self.job.namespace, &target), true).await;
        set.map(|_| ()).map_err(Broken::Failure)
    }

    fn ended(&self, logs_over: bool) -> Option<Ended> {
        let released = self.summary.gang_phase == "Released";
        match &*self.summary.phase {
            "Suspended" if self.interrupted && released => Some(Ended::Interrupted),
            "Succeeded" if released && logs_over => Some(Ended::Succeeded(self.summary.clone())),
            "Failed" if released && logs_over => Some(Ended::Failed(self.summary.clone())),
            _ => None,
        }
    }

    /// Prints what is still on its way. The logs of a job that has ended come to an end; those of one that was
    /// suspended stay open for its next generation.
    async fn drain(&mut self, logs: &mut Option<LogStream>) {
        let last_words = async {
            while let Ok(Some(chunk)) = next_chunk_now(logs).await {
                self.print(chunk).await;
            }
        };
        // Over at the end of the log, or too late.
        let _ = tokio::time::timeout(LAST_WORDS, last_words).await;
    }
}

/// The next piece; waits for ever when there is no log.
async fn next_chunk(logs: &mut Option<LogStream>) -> Result<Option<api::LogChunk>, ClientError> {
    match logs {
        Some(logs) => logs.next().await,
        None => std::future::pending().await,
    }
}

/// The next piece; nothing when there is no log.
async fn next_chunk_now(
    logs: &mut Option<LogStream>,
) -> Result<Option<api::LogChunk>, ClientError> {
    match logs {
        Some(logs) => logs.next().await,
        None => Ok(None),
    }
}

fn gone_away(client: &Client) -> ClientError {
    ClientError::Unreachable { address: client.address(), why: "it ended the watch".into() }
}

/// A job's state in one line: `Starting: Master 1/1 ready, Worker 2/3 ready (fetching torch)`.
fn status_line(summary: &api::JobSummary) -> String {
    let counts = |count: fn(&api::RoleSummary) -> u32, word: &str| {
        let roles = summary.roles.iter();
        let roles: Vec<String> = roles
            .map(|role| format!("{} {}/{}{word}", role.name, count(role), role.replicas))
            .collect();
        roles.join(", ")
    };
    let mut line = match &*summary.gang_phase {
        "Preparing" => {
            format!("{}: {}", summary.phase, counts(|role| role.ready, " ready"))
        }
        "Running" => format!("{}: {}", summary.phase, counts(|role| role.running, " running")),
        "Stopping" => format!("{}: stopping ranks", summary.phase),
        "Draining" => {
            format!("{}: {}", summary.phase, counts(|role| role.running, " still running"))
        }
        _ => summary.phase.clone(),
    };
    if summary.generation > 1 {
        line.push_str(&format!(" [generation {}]", summary.generation));
    }
    let ended = matches!(&*summary.phase, "Succeeded" | "Failed");
    if !summary.detail.is_empty() && !ended {
        line.push_str(&format!(" - {}", summary.detail));
    }
    line
}

// === impl Ended ===

impl Ended {
    /// How it ended, for people.
    pub(super) fn sentence(&self, job: &api::Ref) -> String {
        let name = format!("{} {}", job.kind, job.name);
        match self {
            Self::Succeeded(summary) => format!("{name} succeeded{}", took(summary)),
            Self::Failed(summary) => {
                format!("{name} failed{}: {}", took(summary), summary.detail)
            }
            Self::Gone => format!("{name} was deleted"),
            Self::Interrupted => format!("{name} was left"),
        }
    }

    /// How it ended, for programs.
    pub(super) fn to_json(&self, job: &api::Ref) -> Value {
        let (phase, summary) = match self {
            Self::Succeeded(summary) => ("Succeeded", Some(summary)),
            Self::Failed(summary) => ("Failed", Some(summary)),
            Self::Gone => ("Deleted", None),
            Self::Interrupted => ("Interrupted", None),
        };
        json!({
            "kind": job.kind,
            "namespace": job.namespace,
            "name": job.name,
            "uid": job.uid,
            "phase": phase,
            "restarts": summary.map(|summary| summary.restarts),
            "generation": summary.map(|summary| summary.generation),
            "durationMs": summary.map(|s| s.completed_ms.saturating_sub(s.started_ms)),
            "detail": summary.map(|summary| summary.detail.clone()),
        })
    }
}

fn took(summary: &api::JobSummary) -> String {
    let restarts = match summary.restarts {
        0 => String::new(),
        1 => ", 1 restart".into(),
        more => format!(", {more} restarts"),
    };
    if summary.started_ms == 0 {
        return restarts;
    }
    let span = Duration::from_millis(summary.completed_ms.saturating_sub(summary.started_ms));
    if span < Duration::from_secs(60) {
        format!(" in {:.1}s{restarts}", span.as_secs_f64())
    } else {
        format!(" in {}{restarts}", elapsed(span))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_status_line_counts_what_matters_in_each_phase() {
        let role = |name: &str, replicas, ready, running| api::RoleSummary {
            name: name.into(),
            replicas,
            ready,
            running,
            ..Default::default()
        };
        let mut summary = api::JobSummary {
            phase: "Starting".into(),
            gang_phase: "Preparing".into(),
            generation: 1,
            roles: vec![role("Master", 1, 1, 0), role("Worker", 3, 2, 0)],
            detail: "fetching torch".into(),
            ..Default::default()
        };
        assert_eq!(
            status_line(&summary),
            "Starting: Master 1/1 ready, Worker 2/3 ready - fetching torch"
        );
        summary.phase = "Restarting".into();
        summary.gang_phase = "Stopping".into();
        summary.generation = 2;
        summary.detail = String::new();
        assert_eq!(status_line(&summary), "Restarting: stopping ranks [generation 2]");
    }
}
