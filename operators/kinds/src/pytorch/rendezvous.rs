//! Where torchrun finds its peers.
//!
//! By default in the gang's own store, which Muster keeps beside rank 0 and renews for every
//! generation. A job that names another place or another way gets what upstream would give it.

use muster_model::{EnvTemplate, JobName, Part, Template, Variable};

use super::elastic::Elastic;
use super::{MASTER, PORT, WORKER, inspect};
use crate::findings::Findings;
use crate::kind::Job;
use crate::roles::Replicas;

/// What torchrun is told.
#[derive(Debug)]
pub(super) enum Plan {
    /// The gang's store, with these further settings and this id if they are given.
    Store { conf: Vec<(String, String)>, id: Option<String> },
    /// What upstream derives from the elastic policy.
    Upstream {
        backend: String,
        endpoint: Template,
        conf: Vec<(String, String)>,
        id: Option<String>,
    },
    /// Nothing: the command or the container's environment says it.
    Nothing,
}

/// Decides for the whole gang.
pub(super) fn plan(
    job: &Job<'_>,
    elastic: Option<&Elastic<'_>>,
    all: &[Replicas<'_>],
    to: &mut Findings,
) -> Plan {
    let id = elastic.and_then(|elastic| elastic.id).map(str::to_owned);
    let own = |pair: &(&str, &str)| (pair.0.to_owned(), pair.1.to_owned());
    let mut conf: Vec<_> =
        elastic.map_or(&[][..], |elastic| &elastic.conf).iter().map(own).collect();
    let chosen = inspect(all).any(|found| found.own_rendezvous);
    match elastic {
        None if chosen => Plan::Nothing,
        Some(elastic) if chosen || elastic.chooses_rendezvous() => Plan::Upstream {
            backend: elastic.backend.unwrap_or("c10d").to_owned(),
            endpoint: endpoint(job, elastic, all),
            conf,
            id,
        },
        _ => {
            let before = conf.len();
            conf.retain(|(key, _)| key != "is_host");
            if conf.len() < before {
                to.note(
                    job.spec.field("elasticPolicy").field("rdzvConf").path(),
                    "is_host is false for all: Muster hosts the rendezvous",
                );
            }
            Plan::Store { conf, id }
        }
    }
}

/// `<rdzvHost or <job>-worker-0>:<rdzvPort or the Worker's port>`. The name of rank 0's replica stands for its address.
fn endpoint(job: &Job<'_>, elastic: &Elastic<'_>, all: &[Replicas<'_>]) -> Template {
    let worker = all.iter().find(|one| one.role == WORKER);
    let declared = worker.map_or(PORT.1, |worker| worker.declared_port(PORT));
    let port = elastic.port.unwrap_or(i64::from(declared));
    let leader = match all.first() {
        Some(first) if first.role == MASTER => MASTER,
        _ => WORKER,
    };
    let leader = JobName::new(job.name)
        .map(|name| format!("{name}-{}-0", leader.to_ascii_lowercase()))
        .unwrap_or_default();
    let host = match elastic.host {
        None => Part::Hole(Variable::LeaderHost),
        Some(host) if host == leader => Part::Hole(Variable::LeaderHost),
        Some(host) if host.contains(':') && !host.starts_with('[') => {
            Part::Text(format!("[{host}]"))
        }
        Some(host) => Part::Text(host.to_owned()),
    };
    Template(vec![host, Part::Text(format!(":{port}"))])
}

impl Plan {
    /// The variables that torchrun reads.
    pub(super) fn variables(self) -> Vec<(&'static str, Template)> {
        let (backend, endpoint, mut conf, id) = match self {
            Self::Nothing => return Vec::new(),
            Self::Upstream { backend, endpoint, conf, id } => {
                (backend, endpoint, conf, id.map(Template::text))
            }
            Self::Store { conf, id } => {
                let endpoint = Template(vec![
                    Part::Hole(Variable::LeaderHost),
                    Part::Text(":".into()),
                    Part::Hole(Variable::StorePort),
                ]);
                let own_id = Template(vec![
                    Part::Hole(Variable::JobUid),
                    Part::Text("-g".into()),
                    Part::Hole(Variable::Generation),
                ]);
                let id = id.map_or(own_id, Template::text);
                let host = ("is_host".to_owned(), "false".to_owned());
                let conf = conf.into_iter().chain([host]).collect();
                ("c10d".to_owned(), endpoint, conf, Some(id))
            }
        };
        let mut variables =
            vec![("PET_RDZV_BACKEND", Template::text(backend)), ("PET_RDZV_ENDPOINT", endpoint)];
        if !conf.is_empty() {
            let pairs: Vec<String> =
                conf.drain(..).map(|(key, value)| format!("{key}={value}")).collect();
            variables.push(("PET_RDZV_CONF", Template::text(pairs.join(","))));
        }
        variables.extend(id.map(|id| ("PET_RDZV_ID", id)));
        variables
    }
}

/// A variable that wins over the manifest's.
pub(super) fn injected(name: &str, value: Template) -> EnvTemplate {
    EnvTemplate { name: name.to_owned(), value, user_wins: false }
}
