use muster_model::{
    Attempt, EnvTemplate, EnvVar, Fence, Generation, JobId, JobKey, JobKind, JobName, Namespace,
    Naming, Part, Peer, PeerPart, PeerSet, Peers, PodSpec, Rank, ReplicaId, Resources,
    RestartPolicy, RoleIndex, RoleName, RoleSpec, Template, Uid,
};

use super::*;

/// Worker 1 of a gang of four, third generation, with one container.
pub(in crate::launch) fn spec() -> LaunchSpec {
    LaunchSpec {
        id: ReplicaId { job: JobId(7), rank: Rank(2) },
        fence: Fence { attempt: Attempt(2), generation: Generation(3) },
        job_uid: Uid("0b7e".into()),
        job: JobKey {
            namespace: Namespace::default_namespace(),
            kind: JobKind("PyTorchJob".into()),
            name: JobName::new("mnist").expect("a valid name"),
        },
        name: "mnist-worker-1".into(),
        short_name: "worker-1".into(),
        role_index: RoleIndex(1),
        index_in_role: 1,
        role: RoleSpec {
            name: RoleName("Worker".into()),
            replicas: 3,
            restart: RestartPolicy::OnFailure,
            pod: PodSpec {
                containers: vec![ContainerSpec {
                    name: "pytorch".into(),
                    ..ContainerSpec::default()
                }],
                ..PodSpec::default()
            },
            env: Vec::new(),
            main_env: Vec::new(),
            files: Vec::new(),
            processes: 1,
            naming: Naming::default(),
        },
        gang_size: 4,
        replicas_on_node: 2,
        holds_store: false,
        reserves_port: false,
        witnesses: Vec::new(),
        submit_dir: None,
    }
}

fn node() -> NodeFacts {
    NodeFacts {
        name: "node-a".into(),
        address: "10.0.0.7".into(),
        millicores: 8000,
        has_gpus: false,
        path: Some("/usr/bin:/bin".into()),
        portable: vec![("HOME".into(), "/root".into())],
        host: vec![("LD_LIBRARY_PATH".into(), "/opt/lib".into())],
    }
}

fn opened() -> GenerationContext {
    GenerationContext {
        generation: Generation(3),
        leader_address: "10.0.0.1".into(),
        store_port: Some(29_500),
        free_port: Some(23_456),
        peers: Vec::new(),
    }
}

fn hole(name: &str, variable: Variable) -> EnvTemplate {
    EnvTemplate { name: name.into(), value: Template::hole(variable), user_wins: false }
}

fn text(name: &str, value: &str) -> EnvVar {
    EnvVar { name: name.into(), source: EnvSource::Value(value.into()) }
}

/// What varies between the cases.
struct Case {
    spec: LaunchSpec,
    node: NodeFacts,
    toolbox: Toolbox,
    opened: Option<GenerationContext>,
    local_rank: u32,
    gpus: Vec<u32>,
}

impl Case {
    fn new() -> Self {
        Self {
            spec: spec(),
            node: node(),
            toolbox: Toolbox::default(),
            opened: Some(opened()),
            local_rank: 0,
            gpus: Vec::new(),
        }
    }

    fn env(mut self, variables: Vec<EnvVar>) -> Self {
        self.spec.role.pod.containers[0].env = variables;
        self
    }

    fn injected(mut self, templates: Vec<EnvTemplate>) -> Self {
        self.spec.role.env = templates;
        self
    }

    fn compose(&self) -> Result<Vec<(String, String)>, Error> {
        compose(&Inputs {
            spec: &self.spec,
            container: self.spec.role.pod.main_container(),
            node: &self.node,
            toolbox: &self.toolbox,
            opened: self.opened.as_ref(),
            local_rank: self.local_rank,
            gpus: &self.gpus,
            marker: "mark",
            files_root: "",
        })
    }

    fn value(&self, name: &str) -> Option<String> {
        let environment = self.compose().expect("this case composes");
        value_of(&environment, name).map(str::to_owned)
    }
}

#[test]
fn a_whole_environment_is_composed_in_the_documented_order() {
    let case = Case::new()
        .env(vec![text("LR", "0.1"), text("LR", "0.2")])
        .injected(vec![hole("RANK", Variable::Rank), hole("MASTER_ADDR", Variable::LeaderAddress)]);
    let lines: Vec<String> = case
        .compose()
        .unwrap()
        .into_iter()
        .map(|(name, value)| format!("{name}={value}"))
        .collect();
    let expected = include_str!("../testdata/environment.txt");
    assert_eq!(lines.join("\n"), expected.trim_end());
}

#[test]
fn references_see_what_is_defined_before_them() {
    let case = Case::new().env(vec![
        text("LATE", "$(EARLY)"),
        text("EARLY", "e"),
        text("AFTER", "$(EARLY)-$(HOME)"),
        text("ESCAPED", "$$(EARLY)"),
        text("PATH", "/opt:$(PATH)"),
        text("EARLY", "$(EARLY)$(EARLY)"),
    ]);
    assert_eq!(case.value("LATE").as_deref(), Some("$(EARLY)"));
    assert_eq!(case.value("AFTER").as_deref(), Some("e-/root"));
    assert_eq!(case.value("ESCAPED").as_deref(), Some("$(EARLY)"));
    assert_eq!(case.value("PATH").as_deref(), Some("/opt:/usr/bin:/bin"));
    assert_eq!(case.value("EARLY").as_deref(), Some("ee"));
}

#[test]
fn a_mapped_image_hides_the_variables_of_the_host() {
    let mut case = Case::new();
    assert_eq!(case.value("LD_LIBRARY_PATH").as_deref(), Some("/opt/lib"));
    case.toolbox = Toolbox {
        path_prefix: vec!["/env/bin".into()],
        variables: vec![("VIRTUAL_ENV".into(), "/env".into())],
    };
    assert_eq!(case.value("LD_LIBRARY_PATH"), None);
    assert_eq!(case.value("VIRTUAL_ENV").as_deref(), Some("/env"));
    assert_eq!(case.value("PATH").as_deref(), Some("/env/bin:/usr/bin:/bin"));
}

#[test]
fn an_injected_variable_wins_unless_it_yields() {
    let mut yielding = hole("OMP_NUM_THREADS", Variable::Threads);
    yielding.user_wins = true;
    let templates = vec![yielding, hole("RANK", Variable::Rank)];
    let case = Case::new().injected(templates.clone());
    assert_eq!(case.value("OMP_NUM_THREADS").as_deref(), Some("4"));
    let case =
        Case::new().injected(templates).env(vec![text("OMP_NUM_THREADS", "9"), text("RANK", "9")]);
    assert_eq!(case.value("OMP_NUM_THREADS").as_deref(), Some("9"));
    assert_eq!(case.value("RANK").as_deref(), Some("2"));
}

#[test]
fn each_replica_is_told_the_address_of_its_own_node_also_before_the_opening() {
    let mut local = hole("PET_LOCAL_ADDR", Variable::NodeAddress);
    local.user_wins = true;
    let mut case =
        Case::new().injected(vec![local.clone(), hole("MASTER_ADDR", Variable::LeaderAddress)]);
    assert_eq!(case.value("PET_LOCAL_ADDR").as_deref(), Some("10.0.0.7"));
    assert_eq!(case.value("MASTER_ADDR").as_deref(), Some("10.0.0.1"));
    case.opened = None;
    assert_eq!(case.value("PET_LOCAL_ADDR").as_deref(), Some("10.0.0.7"));
    // torch joins the address and the port itself.
    case.node.address = "fd00::7".into();
    assert_eq!(case.value("PET_LOCAL_ADDR").as_deref(), Some("fd00::7"));
    let own = Case::new().injected(vec![local]).env(vec![text("PET_LOCAL_ADDR", "192.0.2.9")]);
    assert_eq!(own.value("PET_LOCAL_ADDR").as_deref(), Some("192.0.2.9"));
}

#[test]
fn every_hole_has_its_value() {
    use Variable::*;
    let mut case = Case::new();
    case.spec.role.processes = 4;
    case.local_rank = 3;
    for (variable, expected) in [
        (Rank, "2"),
        (ProcessRank, "11"),
        (LocalRank, "3"),
        (RoleIndex, "1"),
        (LeaderAddress, "10.0.0.1"),
        (LeaderHost, "10.0.0.1"),
        (StorePort, "29500"),
        (FreePort, "23456"),
        (RestartCount, "2"),
        (Generation, "3"),
        (JobUid, "0b7e"),
        (Threads, "1"),
        (NodeAddress, "10.0.0.7"),
    ] {
        case.spec.role.env = vec![hole("X", variable)];
        assert_eq!(case.value("X").as_deref(), Some(expected), "{variable:?}");
    }
}

#[test]
fn only_the_host_form_of_an_ipv6_address_has_brackets() {
    let mut case = Case::new().injected(vec![
        hole("ADDR", Variable::LeaderAddress),
        EnvTemplate {
            name: "ENDPOINT".into(),
            value: Template(vec![
                Part::Hole(Variable::LeaderHost),
                Part::Text(":".into()),
                Part::Hole(Variable::StorePort),
            ]),
            user_wins: false,
        },
    ]);
    case.opened = Some(GenerationContext { leader_address: "fd00::1".into(), ..opened() });
    assert_eq!(case.value("ADDR").as_deref(), Some("fd00::1"));
    assert_eq!(case.value("ENDPOINT").as_deref(), Some("[fd00::1]:29500"));
}

#[test]
fn before_the_opening_what_needs_it_is_left_out() {
    let mut case = Case::new().injected(vec![
        hole("MASTER_ADDR", Variable::LeaderAddress),
        hole("MASTER_PORT", Variable::StorePort),
        hole("RANK", Variable::Rank),
    ]);
    case.opened = None;
    assert_eq!(case.value("MASTER_ADDR"), None);
    assert_eq!(case.value("MASTER_PORT"), None);
    assert_eq!(case.value("RANK").as_deref(), Some("2"));
}

#[test]
fn a_missing_port_is_an_error_and_no_empty_text() {
    let mut case = Case::new().injected(vec![hole("MASTER_PORT", Variable::StorePort)]);
    case.opened = Some(GenerationContext { store_port: None, ..opened() });
    let error = case.compose().unwrap_err();
    assert!(error.to_string().contains("MASTER_PORT"), "{error}");
}

#[test]
fn fields_of_the_replica_are_answered() {
    let mut case = Case::new();
    case.spec.role.pod.labels.insert("team".into(), "vision".into());
    case.spec.role.pod.annotations.insert("a.b/c".into(), "note".into());
    for (field, expected) in [
        ("metadata.name", "mnist-worker-1"),
        ("metadata.namespace", "default"),
        ("metadata.uid", "0b7e-2"),
        ("metadata.labels['team']", "vision"),
        ("metadata.labels['none']", ""),
        ("metadata.labels['training.kubeflow.org/replica-index']", "1"),
        ("metadata.labels['training.kubeflow.org/replica-type']", "worker"),
        ("metadata.labels['training.kubeflow.org/job-name']", "mnist"),
        ("metadata.annotations['a.b/c']", "note"),
        ("spec.nodeName", "node-a"),
        ("status.podIP", "10.0.0.7"),
        ("status.hostIP", "10.0.0.7"),
    ] {
        let variable = EnvVar { name: "X".into(), source: EnvSource::Field(field.into()) };
        case.spec.role.pod.containers[0].env = vec![variable];
        assert_eq!(case.value("X").as_deref(), Some(expected), "{field}");
    }
}

#[test]
fn an_unknown_field_names_variable_and_field() {
    let case = Case::new()
        .env(vec![EnvVar { name: "X".into(), source: EnvSource::Field("status.phase".into()) }]);
    let text = case.compose().unwrap_err().to_string();
    assert!(text.contains("env X") && text.contains("status.phase"), "{text}");
}

#[test]
fn gpus_are_listed_hidden_or_not_spoken_of() {
    let cuda = |case: &Case| case.value("CUDA_VISIBLE_DEVICES");
    let mut case = Case::new();
    assert_eq!(cuda(&case), None);
    case.node.has_gpus = true;
    assert_eq!(cuda(&case).as_deref(), Some(""));
    case = case.env(vec![text("CUDA_VISIBLE_DEVICES", "0,1,2,3")]);
    assert_eq!(cuda(&case).as_deref(), Some(""));
    case.spec.role.pod.containers[0].requests = Resources::new().with("nvidia.com/gpu", 2);
    case.gpus = vec![1, 3];
    assert_eq!(cuda(&case).as_deref(), Some("1,3"));
    assert_eq!(case.value("CUDA_DEVICE_ORDER").as_deref(), Some("PCI_BUS_ID"));
}

#[test]
fn a_manifest_cannot_take_the_marker_off() {
    let case = Case::new().env(vec![text(MARKER_VARIABLE, "mine")]);
    assert_eq!(case.value(MARKER_VARIABLE).as_deref(), Some("mark"));
}

#[test]
fn unusable_names_and_values_are_refused() {
    for (name, value) in [("", "x"), ("A=B", "x"), ("A\0", "x"), ("A", "x\0")] {
        let case = Case::new().env(vec![text(name, value)]);
        assert!(case.compose().is_err(), "{name:?}={value:?}");
    }
}

#[test]
fn peers_are_known_once_the_generation_is_open() {
    let endpoint = [PeerPart::Host, PeerPart::Text(":".into()), PeerPart::Port];
    let list = |of| Peers { of, each: endpoint.to_vec(), separator: ",".into() };
    let template = |name: &str, of| EnvTemplate {
        name: name.into(),
        value: Template(vec![Part::Peers(list(of))]),
        user_wins: false,
    };
    let mut case = Case::new().injected(vec![
        template("WORKERS", PeerSet::Role(RoleIndex(1))),
        template("ME", PeerSet::Own),
    ]);
    let peer = |port| Peer { address: "10.0.0.7".into(), port: Some(port) };
    let peers = vec![vec![peer(4000)], vec![peer(4001), peer(4002), peer(4003)]];
    case.opened = Some(GenerationContext { peers, ..opened() });
    let all = "10.0.0.7:4001,10.0.0.7:4002,10.0.0.7:4003";
    assert_eq!(case.value("WORKERS").as_deref(), Some(all));
    assert_eq!(case.value("ME").as_deref(), Some("10.0.0.7:4002"));
    case.opened = None;
    assert_eq!(case.value("WORKERS"), None);
}

#[test]
fn some_variables_are_for_the_main_container_only() {
    let mut case = Case::new();
    case.spec.role.main_env = vec![hole("TASK", Variable::RoleIndex)];
    assert_eq!(case.value("TASK").as_deref(), Some("1"));
    let side = ContainerSpec { name: "side".into(), ..ContainerSpec::default() };
    case.spec.role.pod.containers.insert(0, side);
    case.spec.role.pod.main = 1;
    assert_eq!(case.value("TASK").as_deref(), Some("1"));
    case.spec.role.pod.main = 0;
    let main = case.spec.role.pod.containers[1].clone();
    let inputs = Inputs {
        spec: &case.spec,
        container: &main,
        node: &case.node,
        toolbox: &case.toolbox,
        opened: case.opened.as_ref(),
        local_rank: 0,
        gpus: &[],
        marker: "mark",
        files_root: "",
    };
    let environment = compose(&inputs).expect("this case composes");
    assert_eq!(value_of(&environment, "TASK"), None);
}
