//! Manifests for tests, and what admission says about them.

use muster_model::{EnvTemplate, FileTemplate, Namespace, Peer, Rank, Roster, Template, Variable};
use serde_json::{Map, Value, json};

use crate::{
    AdmitContext, Admitted, Rejection, Runtimes, admit, parse_documents, replica_labels, selector,
};

pub(crate) fn context() -> AdmitContext {
    AdmitContext {
        namespace: Namespace::new("team-a").expect("is a DNS label"),
        name_suffix: "x7k2p".to_owned(),
        runtimes: Runtimes::shipped(),
    }
}

/// The first document of a YAML text.
pub(crate) fn yaml(text: &str) -> Value {
    match parse_documents(text.as_bytes()) {
        Ok(documents) => documents[0].value.clone(),
        Err(error) => panic!("{error}\n{text}"),
    }
}

/// A job with a Master and two Workers.
pub(crate) fn job() -> Value {
    yaml(
        r"
apiVersion: kubeflow.org/v1
kind: PyTorchJob
metadata: {name: ddp}
spec:
  pytorchReplicaSpecs:
    Master:
      replicas: 1
      template: &template
        spec:
          containers:
          - {name: pytorch, image: 'pytorch/pytorch:2.9', command: [python, train.py]}
    Worker: {replicas: 2, template: *template}
",
    )
}

/// A job with two Workers and no Master.
pub(crate) fn workers() -> Value {
    with(job(), &[("spec.pytorchReplicaSpecs.Master", Value::Null)])
}

/// The manifest with some values set. Parts of a path are separated by dots; a number is the index
/// of an item (one past the last adds one); `Null` takes a field away; `W` and `M` are the pod
/// specs of the Worker and the Master, `C` is the Worker's first container.
pub(crate) fn with(mut manifest: Value, changes: &[(&str, Value)]) -> Value {
    for (path, value) in changes {
        let path = match path.split_once('.') {
            Some(("W", rest)) => format!("spec.pytorchReplicaSpecs.Worker.template.spec.{rest}"),
            Some(("M", rest)) => format!("spec.pytorchReplicaSpecs.Master.template.spec.{rest}"),
            Some(("C", rest)) => {
                format!("spec.pytorchReplicaSpecs.Worker.template.spec.containers.0.{rest}")
            }
            _ => (*path).to_owned(),
        };
        set(&mut manifest, &path, value.clone());
    }
    manifest
}

fn set(manifest: &mut Value, path: &str, value: Value) {
    // A `!` stands for a dot within a key.
    let (first, rest) = path.split_once('.').map_or((path, None), |(a, b)| (a, Some(b)));
    if manifest.is_null() {
        let is_list = first == "0";
        *manifest = if is_list { Value::Array(Vec::new()) } else { Value::Object(Map::new()) };
    }
    let slot = match manifest {
        Value::Array(items) => {
            let index: usize = first.parse().expect("an index");
            if index == items.len() {
                items.push(Value::Null);
            }
            &mut items[index]
        }
        Value::Object(fields) => {
            let key = first.replace('!', ".");
            if rest.is_none() && value.is_null() {
                fields.shift_remove(&key);
                return;
            }
            fields.entry(key).or_insert(Value::Null)
        }
        other => panic!("{path} in {other}"),
    };
    match rest {
        None => *slot = value,
        Some(rest) => set(slot, rest, value),
    }
}

pub(crate) fn admitted(manifest: &Value) -> Admitted {
    match admit(manifest, &context()) {
        Ok(admitted) => admitted,
        Err(rejection) => panic!("{rejection}"),
    }
}

/// What is wrong with a manifest; empty when it is accepted.
pub(crate) fn errors(manifest: &Value) -> Vec<String> {
    match admit(manifest, &context()) {
        Ok(_) => Vec::new(),
        Err(Rejection::Kind(unknown)) => vec![unknown.to_string()],
        Err(Rejection::Invalid { errors, .. } | Rejection::Immutable { errors, .. }) => {
            let errors: Vec<String> = errors.iter().map(ToString::to_string).collect();
            assert!(!errors.is_empty(), "rejected without a reason: {manifest}");
            errors
        }
    }
}

pub(crate) fn warnings(manifest: &Value) -> Vec<String> {
    admitted(manifest).warnings.iter().map(ToString::to_string).collect()
}

/// Checks every case of a table of bad manifests; the first lines of each file say how to read it. `base` answers what
/// the cases start from, `short` is what a path may begin with and what that stands for.
pub(crate) fn check_table(
    table: &str,
    base: impl Fn(&str) -> Value,
    (short, long): (&str, &str),
) -> usize {
    let mut from = None;
    let mut cases = 0;
    let mut wrong = String::new();
    for case in table.split("\n\n") {
        let (mut changes, mut expected) = (Vec::new(), Vec::new());
        for line in case.lines() {
            match line.split_once(' ').unwrap_or((line, "")) {
                ("#", _) | ("ok" | "", _) => {}
                ("base", name) => from = Some(base(name)),
                ("set", change) => {
                    let (path, value) = change.split_once(' ').expect("a path and a value");
                    let value: Value = serde_json::from_str(value).expect("JSON");
                    let path = match path.strip_prefix(short) {
                        Some(rest) => format!("{long}{rest}"),
                        None => path.to_owned(),
                    };
                    changes.push((path, value));
                }
                ("!", error) => expected.push(error.replace(short, long)),
                (other, _) => panic!("{other} is no word of a table"),
            }
        }
        if !changes.is_empty() {
            let changes: Vec<_> =
                changes.iter().map(|(path, value)| (path.as_str(), value.clone())).collect();
            let manifest = with(from.clone().expect("a base before the first case"), &changes);
            let found = errors(&manifest);
            if found != expected {
                let lines = found.iter().map(|error| format!("! {}\n", error.replace(long, short)));
                wrong.push_str(&format!("{case}\n--- found\n{}===\n", lines.collect::<String>()));
            }
            cases += 1;
        }
    }
    assert!(wrong.is_empty(), "these cases are answered otherwise:\n{wrong}");
    cases
}

/// A template as a replica of an open generation reads it: rank N is at 10.0.0.N and has the port 400N.
fn filled(admitted: &Admitted, rank: u32, template: &Template) -> String {
    let gang = &admitted.gang;
    let mut roles: Vec<Vec<Peer>> = gang.roles.iter().map(|_| Vec::new()).collect();
    for (rank, role, _) in gang.ranks() {
        let port = gang.reserves_ports(role).then(|| 4000 + rank.0 as u16);
        roles[role.0].push(Peer { address: format!("10.0.0.{rank}"), port });
    }
    let (own_role, own_index) = gang.place(Rank(rank)).expect("a rank of the gang");
    template.fill(&Roster { roles: &roles, own_role, own_index }, |hole| match hole {
        Variable::Rank | Variable::ProcessRank => rank.to_string(),
        Variable::RoleIndex => own_index.to_string(),
        Variable::LeaderAddress | Variable::LeaderHost => "10.0.0.0".into(),
        Variable::NodeAddress => format!("10.0.0.{rank}"),
        Variable::FreePort => "4000".into(),
        Variable::FilesRoot => "<files>".into(),
        other => format!("<{other:?}>"),
    })
}

/// The variables of one replica, those of the main container behind a `*`. A `?` marks those that yield to the
/// manifest's.
pub(crate) fn environment(manifest: &Value, rank: u32) -> String {
    let admitted = admitted(manifest);
    let (role, _) = admitted.gang.place(Rank(rank)).expect("a rank of the gang");
    let role = admitted.gang.role(role);
    let show = |mark: &str, variable: &EnvTemplate| {
        let yields = if variable.user_wins { "?" } else { "" };
        let value = filled(&admitted, rank, &variable.value);
        format!("{mark}{}{yields}={value}", variable.name)
    };
    let all = role.env.iter().map(|variable| show("", variable));
    let main = role.main_env.iter().map(|variable| show("*", variable));
    all.chain(main).collect::<Vec<_>>().join("\n")
}

/// The files of one replica, each behind its path and mode.
pub(crate) fn files(manifest: &Value, rank: u32) -> String {
    let admitted = admitted(manifest);
    let (role, _) = admitted.gang.place(Rank(rank)).expect("a rank of the gang");
    let role = admitted.gang.role(role);
    let show = |file: &FileTemplate| {
        let FileTemplate { path, mode, content } = file;
        format!("--- {path} {mode:o}\n{}", filled(&admitted, rank, content))
    };
    role.files.iter().map(show).collect()
}

/// A job of a v1 training kind with so many replicas of these types. `main` is the name of their container.
pub(crate) fn training_job(
    (kind, specs, main): (&str, &str, &str),
    types: &[(&str, u32)],
) -> Value {
    let container =
        json!({"name": main, "image": "python:3.12", "command": ["python", "train.py"]});
    let replicas: Map<String, Value> = types
        .iter()
        .map(|(name, count)| {
            let template = json!({"spec": {"containers": [container]}});
            ((*name).to_owned(), json!({"replicas": count, "template": template}))
        })
        .collect();
    json!({
        "apiVersion": "kubeflow.org/v1",
        "kind": kind,
        "metadata": {"name": "train"},
        "spec": {specs: replicas},
    })
}

/// The labels of the training operators that each replica carries, one replica a line.
pub(crate) fn labels(manifest: &Value) -> String {
    let Admitted { key, gang, .. } = admitted(manifest);
    let line = |(rank, role, index): (Rank, muster_model::RoleIndex, u32)| {
        let labels = replica_labels(&key, &gang, rank);
        let short = selector(&labels).replace("training.kubeflow.org/", "");
        format!("{}: {short}", gang.role(role).replica_name(&key.name, index))
    };
    gang.ranks().map(line).collect::<Vec<_>>().join("\n")
}
