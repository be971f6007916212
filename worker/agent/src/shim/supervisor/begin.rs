//! From the replica's directory to running processes.

use std::io;

use muster_model::GenerationContext;

use super::super::children::Role;
use super::super::complain;
use super::super::failure::Failure;
use super::super::files;
use super::super::mounts::Namespaces;
use super::super::ports::FreePort;
use super::super::program::{self, Container, Moment, Program};
use super::super::protocol::Stage;
use super::super::record::WORK;
use super::super::spawn::{self, Start, Step};
use super::super::store::{self, Store};
use super::{Phase, Supervisor};
use crate::runtime::line::Tags;

impl Supervisor {
    pub(super) fn prepare(&mut self) {
        // Before anything is said to the agent, which holds the environments until it hears from the shim.
        for users in &self.launch.environments {
            match users.note(std::process::id()) {
                Ok(user) => self.users.push(user),
                Err(error) => return self.fail(Failure::passing(error.to_string())),
            }
        }
        match Namespaces::make(&self.launch.spec.role.pod, &self.directory) {
            Ok(namespaces) => self.namespaces = namespaces,
            Err(failure) => return self.fail(failure),
        }
        for notice in std::mem::take(&mut self.namespaces.notices) {
            self.control.notice(notice);
        }
        self.next_init();
    }

    /// Starts the next init container, or, when there is none left, checks that everything is there.
    pub(super) fn next_init(&mut self) {
        let Phase::Preparing { begun } = self.phase else {
            return;
        };
        let all = &self.launch.spec.role.pod.init_containers;
        let Some(next) = all.get(begun) else {
            return self.ready();
        };
        let step = format!("init container {} ({} of {})", next.name, begun + 1, all.len());
        self.control.stage(Stage::Preparing { step });
        self.phase = Phase::Preparing { begun: begun + 1 };
        let moment = Moment { opened: None, local_rank: 0 };
        if let Err(failure) = self.launch_one(begun, Role::Init, moment) {
            self.fail(failure);
        }
    }

    fn ready(&mut self) {
        let checked = self.check().and_then(|()| self.reserve());
        let (store_port, free_port) = match checked {
            Ok(ports) => ports,
            Err(failure) => return self.fail(failure),
        };
        self.phase = Phase::Ready;
        self.control.stage(Stage::Ready { store_port, free_port });
        if let Some(context) = self.early.take() {
            self.start(&context);
        }
    }

    /// Checks that every container could be started, as far as that is known before the generation is open.
    fn check(&mut self) -> Result<(), Failure> {
        let first = self.launch.spec.role.pod.init_containers.len();
        let count = self.launch.spec.role.pod.containers.len();
        let moment = Moment { opened: None, local_rank: 0 };
        for index in first..first + count {
            let program = self.resolve(index, moment)?;
            if let Some(notice) = program.notice {
                self.control.notice(notice);
            }
        }
        Ok(())
    }

    fn reserve(&mut self) -> Result<(Option<u16>, Option<u16>), Failure> {
        let port = |error: io::Error| Failure::passing(format!("cannot reserve a port: {error}"));
        if self.launch.spec.holds_store {
            self.store = Some(
                Store::reserve(&self.launch.node.address).map_err(store::plain).map_err(port)?,
            );
        }
        if self.launch.spec.id.rank.0 == 0 || self.launch.spec.reserves_port {
            self.free_port = Some(FreePort::reserve().map_err(port)?);
        }
        Ok((self.store.as_ref().map(Store::port), self.free_port.as_ref().map(|port| port.number)))
    }

    pub(super) fn start(&mut self, context: &GenerationContext) {
        if context.generation != self.launch.spec.fence.generation {
            complain(format_args!(
                "an order to start generation {} is not for this replica",
                context.generation
            ));
            return;
        }
        match self.start_all(context) {
            Ok(()) => {
                self.phase = Phase::Running;
                self.control.stage(Stage::Running);
            }
            Err(failure) => self.fail(failure),
        }
    }

    fn start_all(&mut self, context: &GenerationContext) -> Result<(), Failure> {
        let spec = &self.launch.spec;
        let processes = spec.gang_size.saturating_mul(spec.role.processes.max(1));
        if let Some(store) = &mut self.store {
            store.start(processes).map_err(|error| {
                Failure::passing(format!("cannot start the rendezvous store: {error}"))
            })?;
        }
        let first = self.launch.spec.role.pod.init_containers.len();
        let main = self.container(first + self.launch.spec.role.pod.main);
        files::write(&self.launch, main, (context, &self.directory.join(WORK)))?;
        // From here on the program may bind it.
        self.free_port = None;
        let pod = &self.launch.spec.role.pod;
        let (first, main, count) = (pod.init_containers.len(), pod.main, pod.containers.len());
        for place in 0..count {
            let (role, processes) = match place == main {
                true => (Role::Main, self.launch.spec.role.processes.max(1)),
                false => (Role::Side, 1),
            };
            for local_rank in 0..processes {
                let moment = Moment { opened: Some(context), local_rank };
                self.launch_one(first + place, role, moment)?;
            }
        }
        Ok(())
    }

    pub(super) fn container(&self, index: usize) -> Container<'_> {
        let pod = &self.launch.spec.role.pod;
        let mut all = pod.init_containers.iter().chain(&pod.containers);
        Container {
            index,
            spec: all.nth(index).expect("only indices of the pod are used"),
            plan: &self.launch.containers[index],
        }
    }

    fn resolve(&self, index: usize, moment: Moment<'_>) -> Result<Program, Failure> {
        let own = self.directory.join(WORK);
        program::resolve(&self.launch, self.container(index), &self.namespaces, &own, moment)
    }

    fn launch_one(&mut self, index: usize, role: Role, moment: Moment<'_>) -> Result<(), Failure> {
        let program = self.resolve(index, moment)?;
        let started = spawn::spawn(&Start {
            program: &program.file,
            argv: &program.argv,
            environment: &program.environment,
            directory: &program.directory,
            namespace: self.namespaces.of(index),
            join: &self.launch.groups.join(index),
        });
        let name = self.container(index).spec.name.clone();
        let started =
            started.map_err(|(step, error)| not_started(&name, &program, step, &error))?;
        self.children.add(started.pid, role, index);
        let several = role == Role::Main && self.launch.spec.role.processes > 1;
        let tags = Tags::new(
            (role != Role::Main).then_some(name.as_str()),
            several.then_some(moment.local_rank),
        );
        self.output
            .add(started.stdout, started.stderr, &tags)
            .map_err(|error| Failure::passing(format!("cannot read its output: {error}")))
    }
}

fn not_started(name: &str, program: &Program, step: Step, error: &io::Error) -> Failure {
    let file = program.file.display();
    match step {
        Step::Fork => Failure::passing(format!(
            "cannot start a process for container {name}: {error}; the node is short of processes or memory"
        )),
        Step::Join => {
            Failure::passing(format!("container {name} cannot join its control group: {error}"))
        }
        Step::Namespace => {
            Failure::passing(format!("container {name} cannot enter its mount namespace: {error}"))
        }
        Step::Directory => Failure::permanent(format!(
            "container {name} cannot start in {}: {error}",
            program.directory
        )),
        Step::Execute => {
            Failure::permanent(format!("cannot run {file} in container {name}: {error}"))
        }
    }
}
