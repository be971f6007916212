//! What goes wrong, and the end of it.

use muster_state::JobStatus;

use crate::client::What;
use crate::coordinator::Input;
use crate::network::Address;
use crate::plan::Rates;
use crate::time::{SimTime, Span};
use crate::trace::Note;
use crate::violation::Violation;
use crate::world::{Event, World};

/// There are at most so many members and machines.
const MOST_MEMBERS: usize = 5;
const MOST_MACHINES: usize = 9;

impl World {
    /// Lets happen what the dice say.
    pub(crate) fn weather(&mut self) -> Result<(), Violation> {
        self.trouble_members();
        self.trouble_network();
        self.trouble_agents()?;
        let Rates { membership, .. } = self.plan.rates;
        if self.fault_dice.hits(membership) {
            let staying = self.staying();
            let grows = staying.len() < 2 || self.fault_dice.hits(5000);
            let who = self.fault_dice.pick(&staying);
            match who {
                Some(id) if !grows => self.wishes.push_back(What::RemoveMember(id)),
                _ if staying.len() < MOST_MEMBERS => self.wish_for_member(),
                _ => {}
            }
        }
        Ok(())
    }

    fn trouble_members(&mut self) {
        let rates = self.plan.rates;
        let members = self.known_members();
        if self.fault_dice.hits(rates.member_crash)
            && let Some(id) = self.fault_dice.pick(&members)
        {
            let down = self.fault_dice.span(Span::millis(1), Span::seconds(6));
            self.crash_member(id, down);
            // Now and then all of them at once.
            if self.fault_dice.hits(1000) {
                for id in &members {
                    let down = self.fault_dice.span(Span::millis(1), Span::seconds(3));
                    self.crash_member(*id, down);
                }
            }
        }
        if let Some((id, until)) = self.struck(rates.member_pause, &members, Span::seconds(5)) {
            self.note(Note::Fault(format!("member {id} stands still until {until}")));
            if let Some(member) = self.members.get_mut(&id) {
                member.busy_until = member.busy_until.max(until);
            }
        }
        if let Some((id, _)) = self.struck(rates.clock_step, &members, Span::default()) {
            let step = self.fault_dice.between(0, 60_000) as i64 - 30_000;
            let small = self.fault_dice.between(0, 400) as i64 - 200;
            let step = if self.fault_dice.hits(5000) { small } else { step };
            self.note(Note::Fault(format!("the clock of member {id} steps by {step} ms")));
            if let Some(member) = self.members.get_mut(&id) {
                member.clock += step;
            }
        }
        if let Some((id, until)) = self.struck(rates.slow_disk, &members, Span::seconds(8)) {
            self.note(Note::Fault(format!("the disk of member {id} is slow until {until}")));
            if let Some(member) = self.members.get_mut(&id) {
                member.machine.disk.slow_until = until;
            }
        }
        if let Some((id, until)) = self.struck(rates.full_disk, &members, Span::seconds(10)) {
            self.note(Note::Fault(format!("the disk of member {id} is full until {until}")));
            if let Some(member) = self.members.get_mut(&id) {
                member.machine.disk.full_until = until;
            }
        }
        if self.fault_dice.hits(rates.transfer) {
            let leader = self.members.values().find(|m| m.core.as_ref().is_some_and(|c| c.leads()));
            if let Some(id) = leader.map(|member| member.id) {
                self.note(Note::Fault(format!("member {id} is asked to hand over")));
                self.put(id, Input::Transfer);
            }
        }
    }

    /// Whom a kind of trouble strikes, and until when.
    fn struck<T: Clone>(&mut self, rate: u64, all: &[T], longest: Span) -> Option<(T, SimTime)> {
        if !self.fault_dice.hits(rate) {
            return None;
        }
        let until = self.now + self.fault_dice.span(Span::default(), longest);
        self.fault_dice.pick(all).map(|one| (one, until))
    }

    fn trouble_network(&mut self) {
        if !self.fault_dice.hits(self.plan.rates.partition) {
            return;
        }
        self.counts.partitions += 1;
        let is_long = self.fault_dice.hits(3000);
        let longest = if is_long { self.plan.longest_cut } else { Span::seconds(4) };
        let until = self.now + self.fault_dice.span(Span::millis(100), longest);
        let members = self.known_members().into_iter().map(Address::Member);
        let agents = (0..self.agents.len()).map(Address::Agent);
        let clients = (0..self.clients.len()).map(Address::Client);
        let everyone: Vec<Address> = members.chain(agents).chain(clients).collect();
        let one_way = self.fault_dice.hits(3000);
        let one = self.fault_dice.pick(&everyone);
        let pair = self.fault_dice.hits(3000).then(|| self.fault_dice.pick(&everyone)).flatten();
        // One from everyone, one from another, or half from half.
        let halves = self.fault_dice.hits(3000);
        let here: Vec<Address> = match (halves, one) {
            (false, Some(one)) => vec![one],
            _ => everyone.iter().copied().filter(|_| self.fault_dice.hits(5000)).collect(),
        };
        self.note(Note::Fault(format!(
            "{here:?} cut off from {pair:?} until {until}, one way: {one_way}"
        )));
        for from in &here {
            let others = everyone.iter().filter(|to| !here.contains(to));
            for to in others.filter(|to| pair.is_none_or(|pair| pair == **to)) {
                self.network.cut(*from, *to, until);
                if !one_way {
                    self.network.cut(*to, *from, until);
                }
            }
        }
    }

    fn trouble_agents(&mut self) -> Result<(), Violation> {
        let rates = self.plan.rates;
        let present = self.agents.iter().filter(|agent| !agent.destroyed);
        let agents: Vec<usize> = present.map(|agent| agent.index).collect();
        if let Some((index, until)) = self.struck(rates.agent_crash, &agents, Span::seconds(12)) {
            self.note(Note::Fault(format!("agent {index} dies")));
            self.kill_agent(index, until);
        }
        if let Some((index, until)) = self.struck(rates.agent_pause, &agents, Span::seconds(6)) {
            self.note(Note::Fault(format!("agent {index} stands still until {until}")));
            self.agents[index].paused_until = until;
        }
        if let Some((index, until)) = self.struck(rates.reboot, &agents, Span::seconds(10)) {
            self.note(Note::Fault(format!("the machine of agent {index} restarts")));
            self.agents[index].processes.reboot();
            self.kill_agent(index, until);
        }
        if let Some((index, _)) = self.struck(rates.destroy, &agents, Span::default()) {
            self.note(Note::Fault(format!("the machine of agent {index} is gone for good")));
            self.counts.destroyed += 1;
            let agent = &mut self.agents[index];
            agent.destroyed = true;
            agent.crash();
            agent.processes.shims.clear();
            if self.agents.len() < MOST_MACHINES {
                let pause = self.fault_dice.span(Span::millis(10), Span::seconds(5));
                self.new_machine(pause);
            }
        }
        if let Some((index, _)) = self.struck(rates.kill_program, &agents, Span::default())
            && let Some((key, seen)) = self.agents[index].processes.kill_one()
        {
            let (id, fence) = key;
            self.note(Note::Process { agent: index, id, fence, what: "is killed" });
            let wishes = self.agents[index].saw(key, seen, self.now);
            self.fulfil(index, wishes)?;
        }
        Ok(())
    }

    fn kill_agent(&mut self, index: usize, until: SimTime) {
        self.counts.agent_crashes += 1;
        self.agents[index].crash();
        self.at(until, Event::StartAgent(index));
    }

    /// Nothing goes wrong any more: everybody is started, there is room, and programs end well.
    pub(crate) fn calm(&mut self) {
        self.note(Note::Fault("the storm is over".into()));
        self.is_calm = true;
        self.network.calm();
        let now = self.now;
        let members: Vec<u64> = self.known_members();
        for id in members {
            if let Some(member) = self.members.get_mut(&id) {
                member.machine.disk.slow_until = now;
                member.machine.disk.full_until = now;
            }
            self.at(now, Event::StartMember(id));
        }
        for index in 0..self.agents.len() {
            let programs = &mut self.agents[index].processes.programs;
            (programs.fails, programs.unprepared) = (0, 0);
            programs.longest = programs.longest.min(Span::seconds(5));
            self.at(now, Event::StartAgent(index));
        }
        if self.agents.iter().all(|agent| agent.destroyed) {
            self.new_machine(Span::default());
        }
    }

    /// What is not as it should be yet, once nothing goes wrong any more; `None` when everything is.
    pub(crate) fn unsettled(&self) -> Option<String> {
        let state = &self.history.state;
        if !self.wishes.is_empty() || self.clients.iter().any(|client| !client.is_idle()) {
            return Some("a client waits for an answer".into());
        }
        if let Some(why) = self.members_unsettled() {
            return Some(why);
        }
        for (id, node) in state.tables().nodes.iter() {
            let agent = self.agents.iter().find(|agent| agent.name == node.name);
            let is_well = agent.is_some_and(|agent| !agent.destroyed) && node.phase.is_ready();
            if !is_well {
                return Some(format!("node {} is {:?}", node.name, node.phase));
            }
            if !state.reserved(*id).is_empty() {
                return Some(format!("{} is reserved on {}", state.reserved(*id), node.name));
            }
        }
        let is_done = |status: &JobStatus| {
            status.phase.is_final() || status.phase == muster_model::JobPhase::Suspended
        };
        if let Some((id, status)) = state.tables().statuses.iter().find(|(_, s)| !is_done(s)) {
            let gang = state.gang(*id).map(|gang| gang.phase);
            return Some(format!("job {id} is {:?} with its gang {gang:?}", status.phase));
        }
        let busy = self.agents.iter().find(|agent| !agent.destroyed && !agent.is_empty());
        busy.map(|agent| format!("agent {} still has {:?}", agent.index, agent.processes.shims))
    }

    fn members_unsettled(&self) -> Option<String> {
        let staying = self.staying();
        let known = self.known_members();
        let records = self.history.state.tables().members.iter().count();
        if records != staying.len() || known.len() != staying.len() {
            return Some(format!("members {known:?} run and {staying:?} are to stay"));
        }
        for member in self.members.values().filter(|member| !member.retired) {
            let Some(core) = &member.core else {
                return Some(format!("member {} is down", member.id));
            };
            let status = core.status();
            let voters: Vec<u64> = status.membership.voters.iter().map(|id| id.0).collect();
            if voters != known || status.membership.is_joint() {
                return Some(format!("member {} has the voters {voters:?}", member.id));
            }
            if status.standing.leader.is_none()
                || core.committed_state() != Some(&self.history.state)
            {
                return Some(format!("member {} has not caught up", member.id));
            }
        }
        None
    }
}
