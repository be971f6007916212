//! A coordinator of several members, and an agent.

use std::path::PathBuf;

use rustix::process::{Pid, Signal, kill_process};
use serde_json::Value;

use crate::binary::Outcome;
use crate::daemon::{Place, Role};
use crate::wait::until;

/// Several members, each in a directory of its own.
#[derive(Debug)]
pub struct Members {
    /// The members, in the order in which they came.
    pub places: Vec<Place>,
    /// The agent's directory; commands of clients start from it.
    pub agent: Place,
}

impl Members {
    /// So many members that all vote, and an agent that has a session.
    #[must_use]
    pub fn start(count: usize) -> Self {
        let mut first = Place::new();
        first.start(Role::Coordinator);
        first.wait_until_ready();
        let mut members = Self { places: vec![first], agent: Place::new() };
        for _ in 1..count {
            members.join();
        }
        members.wait_for_votes(count);
        members.know_each_other();
        members.agent.start(Role::Agent);
        members.agent.wait_for_node();
        members
    }

    /// Starts a new member that joins through the first one that is there.
    pub fn join(&mut self) {
        let sponsor = &self.places[0];
        let token = sponsor.data().join("token");
        let mut place = Place::new();
        place.coordinator_flags = vec![
            "--join".into(),
            sponsor.server().replace("http://", ""),
            "--join-token-file".into(),
            token.to_string_lossy().into_owned(),
        ];
        place.start(Role::Coordinator);
        self.places.push(place);
    }

    /// Lets clients and the agent know where all members are.
    pub fn know_each_other(&mut self) {
        let own: Vec<String> = self.places.iter().map(Place::own_server).collect();
        self.agent.servers = Some(own.join(","));
        self.agent.token = Some(self.token());
    }

    fn token(&self) -> PathBuf {
        self.places[0].data().join("token")
    }

    /// Runs a command of a client that knows all members.
    #[must_use]
    pub fn muster(&self, arguments: &[&str]) -> Outcome {
        self.agent.muster(arguments)
    }

    /// What `muster members` shows; nothing while nobody answers.
    #[must_use]
    pub fn list(&self) -> Option<Vec<Value>> {
        let outcome = match self.agent.servers {
            Some(_) => self.muster(&["members", "-o", "json"]),
            None => self.places[0].muster(&["members", "-o", "json"]),
        };
        (outcome.code == 0).then(|| outcome.json()["items"].as_array().cloned()).flatten()
    }

    /// Waits until so many members vote.
    pub fn wait_for_votes(&self, count: usize) {
        until("all members vote", || {
            let list = self.list()?;
            let votes = |one: &&Value| matches!(one["role"].as_str(), Some("Leader" | "Voter"));
            (list.len() == count && list.iter().filter(votes).count() == count).then_some(())
        });
    }

    /// The member that leads and has a majority, as its place in the list of places.
    #[must_use]
    pub fn leader(&self) -> usize {
        until("somebody leads", || self.leader_now())
    }

    /// As [`Members::leader`], if there is one now.
    #[must_use]
    pub fn leader_now(&self) -> Option<usize> {
        self.places.iter().position(|place| {
            let metrics = place.get_http("/metrics").unwrap_or_default();
            metrics.lines().any(|line| line == "muster_is_leader 1")
        })
    }

    /// Waits until the members at these places have applied the same, and checks that it is the same.
    pub fn wait_for_agreement(&self, members: &[usize]) {
        until("all members agree", || {
            let states: Option<Vec<(u64, String)>> =
                members.iter().map(|member| self.places[*member].applied()).collect();
            let states = states?;
            let (index, digest) = states.first()?.clone();
            let is_same = states.iter().all(|(applied, _)| *applied == index);
            if is_same {
                let same = states.iter().all(|(_, other)| *other == digest);
                assert!(same, "members differ at index {index}: {states:?}");
            }
            is_same.then_some(())
        });
    }

    /// Sends a signal to a member.
    pub fn signal(&mut self, member: usize, signal: Signal) {
        let pid = self.places[member].daemon(Role::Coordinator).pid();
        let pid = i32::try_from(pid).ok().and_then(Pid::from_raw).expect("a pid");
        kill_process(pid, signal).expect("it runs");
    }
}
