//! A small world around the brain: agents that obey orders, a first-fit planner, a follower that
//! applies what was committed. After every command all invariants are checked.

use std::collections::BTreeMap;

use muster_model::{
    ConditionType, ContainerSpec, Exit, ExitStatus, Fence, GangPhase, GangSpec, GenerationContext,
    JobId, JobKey, JobKind, JobName, JobPhase, LabelChange, Millis, Namespace, Naming, NodeId,
    NodeName, Placement, PodSpec, Reason, Rendezvous, ReplicaId, RequestId, Resources,
    RestartPolicy, RoleIndex, RoleName, RoleSpec, RunPolicy, SchedulingPolicy, SuccessRule,
    Timestamp, Toleration, Uid,
};
use muster_state::{
    Accepted, Apply, BindGang, Body, Changes, Command, CordonNode, CreateJob, CutOff, DeleteJob,
    Effect, EvictGang, Index, LabelNode, NodePhase, NodeUnreachable, Order, Policy, RegisterNode,
    RemoveNode, ReplicaReport, Reply, ReportReplicas, Reported, State, TaintNode, UpdateJob,
    decide, effects, invariants,
};

/// What every agent promises.
pub(crate) const CUT_OFF: Millis = Millis(60_000);

/// What an agent knows of one replica.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) enum Local {
    Preparing,
    Ready,
    Running(GenerationContext),
    Exited(Exit),
}

#[derive(Debug, Default)]
pub(crate) struct Agent {
    pub(crate) replicas: BTreeMap<ReplicaId, (Fence, Local)>,
    pub(crate) connected: bool,
}

pub(crate) struct World {
    pub(crate) state: State,
    follower: State,
    pub(crate) policy: Policy,
    pub(crate) now: Timestamp,
    pub(crate) agents: BTreeMap<NodeId, Agent>,
    /// What followed from the last command.
    pub(crate) effects: Vec<Effect>,
    uids: u32,
}

/// A gang for tests: so many masters and workers of one core each.
#[derive(Debug, Clone)]
pub(crate) struct Shape {
    pub(crate) masters: u32,
    pub(crate) workers: u32,
    pub(crate) restart: RestartPolicy,
    pub(crate) run_policy: RunPolicy,
    pub(crate) cpu: u64,
    pub(crate) selector: BTreeMap<String, String>,
    pub(crate) tolerations: Vec<Toleration>,
}

impl Shape {
    pub(crate) fn ddp(workers: u32) -> Self {
        Self {
            masters: 1,
            workers,
            restart: RestartPolicy::OnFailure,
            run_policy: RunPolicy::default(),
            cpu: 1000,
            selector: BTreeMap::new(),
            tolerations: Vec::new(),
        }
    }

    pub(crate) fn gang(&self) -> GangSpec {
        let role = |name: &str, replicas| RoleSpec {
            name: RoleName(name.into()),
            replicas,
            restart: self.restart,
            pod: PodSpec {
                containers: vec![ContainerSpec {
                    name: "pytorch".into(),
                    requests: Resources::new().with("cpu", self.cpu),
                    ..ContainerSpec::default()
                }],
                termination_grace: Millis::from_secs(30),
                node_selector: self.selector.clone(),
                tolerations: self.tolerations.clone(),
                ..PodSpec::default()
            },
            env: Vec::new(),
            main_env: Vec::new(),
            files: Vec::new(),
            processes: 1,
            naming: Naming::default(),
        };
        let mut roles = Vec::new();
        if self.masters > 0 {
            roles.push(role("Master", self.masters));
        }
        if self.workers > 0 {
            roles.push(role("Worker", self.workers));
        }
        GangSpec {
            roles,
            rendezvous: Rendezvous::TorchStore,
            success: SuccessRule::All(RoleIndex(0)),
            run_policy: self.run_policy.clone(),
            scheduling: SchedulingPolicy::default(),
        }
    }
}

pub(crate) fn key(name: &str) -> JobKey {
    JobKey {
        namespace: Namespace::default_namespace(),
        kind: JobKind("PyTorchJob".into()),
        name: JobName::new(name).expect("test names are labels"),
    }
}

impl World {
    pub(crate) fn new() -> Self {
        Self {
            state: State::new(),
            follower: State::new(),
            policy: Policy::default(),
            now: Timestamp(1_000),
            agents: BTreeMap::new(),
            effects: Vec::new(),
            uids: 0,
        }
    }

    pub(crate) fn with_nodes(cores: &[u64]) -> Self {
        let mut world = Self::new();
        for (index, cores) in cores.iter().enumerate() {
            world.register(&format!("n{index}"), *cores);
        }
        world
    }

    pub(crate) fn command(&mut self, body: Body) -> Reply {
        self.request(None, body)
    }

    /// Decides, checks, applies here and, through the encoded form, on a follower.
    pub(crate) fn request(&mut self, request: Option<RequestId>, body: Body) -> Reply {
        let command = Command { request, at: self.now, body };
        let decision = decide(&self.state, &self.policy, &command);
        assert_eq!(decision, decide(&self.state, &self.policy, &command), "decide is not pure");
        if matches!(decision.reply, Reply::Rejected(_)) {
            assert!(decision.changes.is_empty(), "a refusal must not change anything");
        }
        let before = self.state.clone();
        self.effects = effects(&before, &decision.changes);
        let index = Index(self.state.applied().0 + 1);
        self.state.apply(index, &decision.changes);
        let copy = Changes::decode(&decision.changes.encode()).expect("own changes decode");
        self.follower.apply(index, &copy);
        let checks = invariants::check(&self.state)
            .and_then(|()| invariants::check_step(&before, &self.state))
            .and_then(|()| invariants::check_capacity(&self.state));
        if let Err(violation) = checks {
            panic!("{violation}\nafter {command:?}\nchanges {:#?}", decision.changes);
        }
        assert_eq!(self.state.digest(), self.follower.digest());
        assert_eq!(self.state, self.follower);
        decision.reply
    }

    pub(crate) fn register(&mut self, name: &str, cores: u64) -> NodeId {
        let agent = format!("agent of {name}");
        self.register_agent((name, &agent), cores).unwrap_or_else(|reason| panic!("{reason}"))
    }

    /// Registers a node for an agent of the given id.
    pub(crate) fn register_agent(
        &mut self,
        (name, agent): (&str, &str),
        cores: u64,
    ) -> Result<NodeId, Reason> {
        let reply = self.command(Body::RegisterNode(RegisterNode {
            name: NodeName::new(name).expect("test names are subdomains"),
            address: format!("10.0.0.{}", self.agents.len() + 1),
            capacity: Resources::new().with("cpu", cores * 1000),
            labels: BTreeMap::new(),
            version: "0".into(),
            agent: agent.into(),
            cut_off: Some(CUT_OFF),
            witness: format!("{name}:1"),
            members: Vec::new(),
        }));
        let Accepted::Registered(id) = reply.into_result()? else { panic!("registered otherwise") };
        self.agents.entry(id).or_default().connected = true;
        Ok(id)
    }

    pub(crate) fn submit(&mut self, name: &str, shape: &Shape) -> JobId {
        match self.try_submit(name, shape) {
            Ok(id) => id,
            Err(reason) => panic!("{reason}"),
        }
    }

    pub(crate) fn try_submit(&mut self, name: &str, shape: &Shape) -> Result<JobId, Reason> {
        self.uids += 1;
        let body = self.create(name, shape);
        match self.command(body).into_result()? {
            Accepted::Applied(ids) => Ok(ids[0]),
            other => panic!("{other:?}"),
        }
    }

    pub(crate) fn create(&self, name: &str, shape: &Shape) -> Body {
        Body::Apply(vec![Apply::Create(Box::new(CreateJob {
            key: key(name),
            uid: Uid(format!("uid-{}", self.uids)),
            manifest: "{}".into(),
            gang: shape.gang(),
            submit_dir: None,
            external: false,
            warnings: Vec::new(),
        }))])
    }

    /// First fit: places every waiting gang that fits.
    pub(crate) fn plan(&mut self) {
        let view = self.state.view();
        for gang in &view.waiting {
            let nodes = self.state.view().nodes.into_iter().filter(|node| node.closed().is_none());
            let mut free: Vec<_> = nodes.map(|node| (node.free.clone(), node)).collect();
            let mut nodes = Vec::new();
            for role in &gang.roles {
                for _ in 0..role.replicas {
                    let fit = free.iter_mut().find_map(|(free, node)| {
                        let allowed = role.rules.obstacle(node.facts()).is_none();
                        (allowed && free.checked_sub(&role.request)).then_some(node.id)
                    });
                    nodes.extend(fit);
                }
            }
            let size: u32 = gang.roles.iter().map(|role| role.replicas).sum();
            if nodes.len() == size as usize {
                let placement = Placement { job: gang.job, attempt: gang.attempt, nodes };
                let reply = self.command(Body::BindGang(BindGang { placement }));
                assert_eq!(reply, Reply::Accepted(Accepted::Bound(gang.job)));
            }
        }
    }

    pub(crate) fn report(&mut self, node: NodeId, id: ReplicaId, fence: Fence, what: Reported) {
        let reports = vec![ReplicaReport { id, fence, what }];
        self.command(Body::ReportReplicas(ReportReplicas { node, reports }));
    }

    /// Lets one agent act on its orders once. `outcome` says how a running replica goes on.
    pub(crate) fn obey(
        &mut self,
        node: NodeId,
        mut outcome: impl FnMut(ReplicaId) -> Option<ExitStatus>,
    ) -> bool {
        if !self.agents.get(&node).is_some_and(|agent| agent.connected) {
            return false;
        }
        let orders = self.state.orders_for(node);
        let mut reports = Vec::new();
        let agent = self.agents.get_mut(&node).expect("checked above");
        let mut changed = false;
        let listed: Vec<ReplicaId> = orders.iter().map(|ordered| ordered.id).collect();
        agent.replicas.retain(|id, _| listed.contains(id));
        for ordered in orders {
            let known =
                agent.replicas.get(&ordered.id).filter(|(fence, _)| *fence == ordered.fence);
            let local = known.map(|(_, local)| local.clone());
            let next = match (&ordered.order, local) {
                (_, Some(Local::Exited(exit))) => Local::Exited(exit),
                (Order::Prepare(_), None) => Local::Preparing,
                (Order::Prepare(_), Some(Local::Preparing)) => Local::Ready,
                (Order::Prepare(_), Some(other)) => other,
                (Order::Run(context), Some(Local::Ready)) => Local::Running(context.clone()),
                (Order::Run(_), Some(Local::Running(context))) => match outcome(ordered.id) {
                    Some(status) => Local::Exited(Exit { status, after_stop: false }),
                    None => Local::Running(context),
                },
                (Order::Run(_), _) => {
                    Local::Exited(Exit { status: ExitStatus::Lost, after_stop: false })
                }
                (Order::Stop { .. }, Some(Local::Running(_))) => {
                    Local::Exited(Exit { status: ExitStatus::Signal(15), after_stop: true })
                }
                (Order::Stop { .. }, _) => {
                    Local::Exited(Exit { status: ExitStatus::NeverStarted, after_stop: true })
                }
                (Order::Clear, _) => continue,
            };
            let what = match &next {
                Local::Preparing => None,
                Local::Ready => {
                    Some(Reported::Ready { store_port: Some(29_500), free_port: Some(29_501) })
                }
                Local::Running(_) => Some(Reported::Running),
                Local::Exited(exit) => Some(Reported::Exited(exit.clone())),
            };
            changed |= agent.replicas.get(&ordered.id) != Some(&(ordered.fence, next.clone()));
            agent.replicas.insert(ordered.id, (ordered.fence, next));
            if let Some(what) = what {
                reports.push(ReplicaReport { id: ordered.id, fence: ordered.fence, what });
            }
        }
        if !reports.is_empty() {
            self.command(Body::ReportReplicas(ReportReplicas { node, reports }));
        }
        changed
    }

    /// Lets all agents act until nothing moves any more; running replicas keep running.
    pub(crate) fn settle(&mut self) {
        let nodes: Vec<NodeId> = self.agents.keys().copied().collect();
        for _ in 0..100 {
            self.plan();
            let moved = nodes.iter().filter(|node| self.obey(**node, |_| None)).count();
            if moved == 0 {
                return;
            }
        }
        panic!("the world does not settle");
    }

    /// Ends one running replica.
    pub(crate) fn end(&mut self, id: ReplicaId, status: ExitStatus) {
        self.end_as(id, Exit { status, after_stop: false });
    }

    /// Ends one replica as if it had been told to stop.
    pub(crate) fn end_stopped(&mut self, id: ReplicaId, status: ExitStatus) {
        self.end_as(id, Exit { status, after_stop: true });
    }

    /// Ends replicas of one node in one report.
    pub(crate) fn end_all(&mut self, ends: impl Iterator<Item = (ReplicaId, ExitStatus)>) {
        let mut node = None;
        let mut reports = Vec::new();
        for (id, status) in ends {
            let replica = self.state.replica(id).expect("the replica exists");
            let (fence, exit) = (replica.fence, Exit { status, after_stop: false });
            assert_eq!(*node.get_or_insert(replica.node), replica.node);
            reports.push(ReplicaReport { id, fence, what: Reported::Exited(exit) });
        }
        let node = node.expect("at least one replica ends");
        self.command(Body::ReportReplicas(ReportReplicas { node, reports }));
    }

    fn end_as(&mut self, id: ReplicaId, exit: Exit) {
        let replica = self.state.replica(id).expect("the replica exists").clone();
        let agent = self.agents.get_mut(&replica.node).expect("its node has an agent");
        agent.replicas.insert(id, (replica.fence, Local::Exited(exit.clone())));
        self.report(replica.node, id, replica.fence, Reported::Exited(exit));
    }

    pub(crate) fn advance(&mut self, by: Millis) {
        self.now = self.now.plus(by);
        self.command(Body::Tick);
    }

    pub(crate) fn delete(&mut self, name: &str) -> Result<Accepted, Reason> {
        self.command(Body::DeleteJob(DeleteJob { key: key(name), uid: None })).into_result()
    }

    pub(crate) fn suspend(&mut self, name: &str, suspend: bool) -> Result<Accepted, Reason> {
        let id = self.state.job_id(&key(name)).ok_or(Reason::JobNotFound { job: key(name) })?;
        let mut gang = self.state.job(id).expect("indexed").gang.clone();
        gang.run_policy.suspend = suspend;
        let based_on = self.state.tables().jobs.version(&id).expect("indexed");
        let update =
            UpdateJob { key: key(name), based_on, manifest: "{}".into(), gang, spec_changed: true };
        self.command(Body::Apply(vec![Apply::Update(Box::new(update))])).into_result()
    }

    pub(crate) fn lose(&mut self, node: NodeId) {
        self.agents.get_mut(&node).expect("a known node").connected = false;
        self.command(Body::NodeUnreachable(NodeUnreachable { node }));
    }

    /// The leader has found that the agent must have stopped what it ran.
    pub(crate) fn give_up(&mut self, node: NodeId, jobs: Vec<JobId>) {
        let Some(NodePhase::Unreachable { since }) = self.state.node(node).map(|node| node.phase)
        else {
            panic!("the node can be reached");
        };
        self.command(Body::CutOff(CutOff { node, since, jobs }));
    }

    pub(crate) fn come_back(&mut self, node: NodeId, forgetful: bool) {
        let Some(record) = self.state.node(node) else {
            return;
        };
        let (name, cores) = (record.name.as_str().to_owned(), record.capacity.clone());
        let agent = self.agents.get_mut(&node).expect("a known node");
        agent.connected = true;
        if forgetful {
            agent.replicas.clear();
        }
        let cores = cores.iter().next().map_or(0, |(_, amount)| amount / 1000);
        self.register(&name, cores);
    }

    pub(crate) fn remove_node(&mut self, node: NodeId) {
        let Some(record) = self.state.node(node) else {
            return;
        };
        let name = record.name.to_string();
        if self.command(Body::RemoveNode(RemoveNode { name })).into_result().is_ok() {
            self.agents.remove(&node);
        }
    }

    fn name_of(&self, node: NodeId) -> String {
        self.state.node(node).map(|node| node.name.to_string()).unwrap_or_default()
    }

    pub(crate) fn cordon(&mut self, node: NodeId, cordon: bool) -> Result<Accepted, Reason> {
        let name = self.name_of(node);
        self.command(Body::CordonNode(CordonNode { name, cordon })).into_result()
    }

    /// Changes taints as they are written on the command line.
    pub(crate) fn taint(&mut self, node: NodeId, changes: &[&str]) -> Result<Accepted, Reason> {
        let name = self.name_of(node);
        let changes = changes.iter().map(|text| text.parse().expect("a change of a taint"));
        let change = TaintNode { name, changes: changes.collect(), overwrite: false };
        self.command(Body::TaintNode(change)).into_result()
    }

    /// Changes labels as they are written on the command line.
    pub(crate) fn label(&mut self, node: NodeId, changes: &[&str]) -> Result<Accepted, Reason> {
        let name = self.name_of(node);
        let changes = changes.iter().map(|text| {
            let change: LabelChange = text.parse().expect("a change of a label");
            (change.key, change.value)
        });
        let change = LabelNode { name, labels: changes.collect(), overwrite: false };
        self.command(Body::LabelNode(change)).into_result()
    }

    pub(crate) fn evict(
        &mut self,
        job: JobId,
        node: NodeId,
        grace: Option<Millis>,
    ) -> Result<Accepted, Reason> {
        let node = self.name_of(node);
        self.command(Body::EvictGang(EvictGang { job, node, grace, force: false })).into_result()
    }

    pub(crate) fn phase(&self, job: JobId) -> Option<JobPhase> {
        self.state.status(job).map(|status| status.phase)
    }

    pub(crate) fn gang_phase(&self, job: JobId) -> GangPhase {
        self.state.gang(job).expect("the job exists").phase
    }

    pub(crate) fn conditions(&self, job: JobId) -> Vec<(&'static str, bool, String)> {
        let status = self.state.status(job).expect("the job exists");
        let show = |c: &muster_model::Condition| (c.kind.as_str(), c.status, c.reason.clone());
        status.conditions.iter().map(show).collect()
    }

    pub(crate) fn message(&self, job: JobId, kind: ConditionType) -> String {
        let status = self.state.status(job).expect("the job exists");
        let found = status.conditions.iter().find(|condition| condition.kind == kind);
        found.map(|condition| condition.message.clone()).unwrap_or_default()
    }
}
