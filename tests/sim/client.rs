//! A client: one request at a time, tried again with the same id at whichever member may lead until it is answered.

use muster_coordinator_core::Refused;
use muster_model::{GangSpec, JobKey, MemberId, RequestId, Uid};
use muster_state::{
    Accepted, AddMember, Apply, Body, CreateJob, DeleteJob, Index, RemoveMember, RemoveNode,
    UpdateJob,
};

use crate::dice::Dice;
use crate::jobs;
use crate::plan::Plan;
use crate::time::{SimTime, Span};
use crate::wire::{Answer, Ask, Read, Ticket};

/// A try that is not answered is given up after this,
const TRY: Span = Span::millis(1500);
/// and the whole request after this: whether it was done is not known then.
const PATIENCE: Span = Span::seconds(20);

/// What is asked for.
#[derive(Debug, Clone)]
pub(crate) enum What {
    Create(JobKey, Box<GangSpec>),
    Delete(JobKey),
    /// Suspend or resume, once it is known what the job looks like.
    Suspend(JobKey, bool, Option<(Index, Box<GangSpec>)>),
    Read(JobKey),
    AddMember(String),
    RemoveMember(MemberId),
    RemoveNode(String),
}

/// A request under way.
#[derive(Debug, Clone)]
pub(crate) struct Op {
    pub(crate) number: u64,
    pub(crate) what: What,
    began: SimTime,
    sent: SimTime,
    /// When it is sent (again), if it waits for that.
    again_at: Option<SimTime>,
    attempt: u32,
    to: u64,
    /// For each attempt: what had been told to anybody when it was sent.
    floors: Vec<Index>,
}

/// What became of a request.
#[derive(Debug)]
pub(crate) enum End {
    Accepted(Op, Accepted, Index),
    /// It was read, at an attempt that was sent when so much had been told.
    Read(Read, Index),
    Rejected,
    /// It was given up.
    Unknown,
}

/// See the module.
#[derive(Debug)]
pub(crate) struct Client {
    pub(crate) index: usize,
    dice: Dice,
    think: Span,
    op: Option<Op>,
    ops: u64,
    next_at: SimTime,
    leader: u64,
}

impl Client {
    pub(crate) fn new(index: usize, plan: &Plan) -> Self {
        let dice = Dice::new(plan.seed, &format!("client {index}"));
        Self {
            index,
            dice,
            think: plan.think,
            op: None,
            ops: 0,
            next_at: SimTime::default(),
            leader: 1,
        }
    }

    pub(crate) fn is_idle(&self) -> bool {
        self.op.is_none()
    }

    /// What a user does next.
    pub(crate) fn wish(&mut self) -> What {
        let key = jobs::key(&mut self.dice);
        match self.dice.between(0, 9) {
            0..=3 => What::Create(key, Box::new(jobs::gang(&mut self.dice))),
            4 => What::Delete(key),
            5 => What::Suspend(key, true, None),
            6 => What::Suspend(key, false, None),
            _ => What::Read(key),
        }
    }

    /// Whether it has thought enough to begin something.
    pub(crate) fn is_due(&self, now: SimTime) -> bool {
        self.op.is_none() && self.next_at <= now
    }

    pub(crate) fn begin(&mut self, what: What, now: SimTime) {
        self.ops += 1;
        let to = self.leader;
        self.op = Some(Op {
            number: self.ops,
            what,
            began: now,
            sent: now,
            again_at: Some(now),
            attempt: 0,
            to,
            floors: Vec::new(),
        });
    }

    /// Sends what is due, or gives it up. `known`: what has been told to anybody by now.
    pub(crate) fn beat(
        &mut self,
        members: &[u64],
        known: Index,
        now: SimTime,
    ) -> (Option<(u64, Ticket, Ask)>, Option<End>) {
        let Some(op) = &mut self.op else { return (None, None) };
        if op.began + PATIENCE < now {
            self.finish(now);
            return (None, Some(End::Unknown));
        }
        let is_silent = op.again_at.is_none() && op.sent + TRY < now;
        if is_silent {
            op.to = self.dice.pick(members).unwrap_or(op.to);
        }
        if !is_silent && op.again_at.is_none_or(|at| at > now) {
            return (None, None);
        }
        op.again_at = None;
        op.sent = now;
        op.attempt += 1;
        op.floors.push(known);
        let ticket = Ticket { client: self.index, op: op.number, attempt: op.attempt };
        (Some((op.to, ticket, ask(op, ticket))), None)
    }

    /// An answer has come.
    pub(crate) fn take(&mut self, ticket: Ticket, answer: Answer, now: SimTime) -> Option<End> {
        let pause = self.dice.span(Span::millis(5), Span::millis(300));
        let op = self.op.as_mut().filter(|op| op.number == ticket.op)?;
        match answer {
            Answer::Outcome(Ok(accepted), index) => {
                self.leader = op.to;
                let op = self.finish(now)?;
                Some(End::Accepted(op, accepted, index))
            }
            Answer::Outcome(Err(Refused::Rejected(_)), _) => {
                self.finish(now);
                Some(End::Rejected)
            }
            Answer::Read(read) => {
                let floor = op.floors[ticket.attempt as usize - 1];
                if let What::Suspend(_, suspend, based @ None) = &mut op.what
                    && let Some((_, version, gang)) = &read.job
                {
                    let mut gang = gang.clone();
                    gang.run_policy.suspend = *suspend;
                    *based = Some((*version, gang));
                    op.again_at = Some(now);
                } else {
                    self.finish(now);
                }
                Some(End::Read(read, floor))
            }
            Answer::Outcome(Err(refused), _) => {
                if let Refused::NotLeader { leader: Some(leader) } = refused {
                    op.to = leader.0;
                }
                op.again_at = Some(now + pause);
                None
            }
            Answer::Elsewhere(leader) => {
                op.to = leader.unwrap_or(op.to);
                op.again_at = Some(now + pause);
                None
            }
        }
    }

    fn finish(&mut self, now: SimTime) -> Option<Op> {
        self.next_at = now + self.dice.span(Span::default(), self.think);
        self.op.take()
    }
}

/// The id of a client's request.
pub(crate) fn request_id(client: usize, op: u64) -> RequestId {
    RequestId(client as u64 + 1, op)
}

fn ask(op: &Op, ticket: Ticket) -> Ask {
    let request = Some(request_id(ticket.client, op.number));
    // It tells which request made a change.
    let manifest = format!("{}/{}", ticket.client, op.number);
    let body = match op.what.clone() {
        What::Read(key) | What::Suspend(key, _, None) => return Ask::Read(Some(key)),
        What::Create(key, gang) => Body::Apply(vec![Apply::Create(Box::new(CreateJob {
            key,
            uid: Uid(format!("{manifest}/{}", ticket.attempt)),
            manifest,
            gang: *gang,
            submit_dir: None,
            external: false,
            warnings: Vec::new(),
        }))]),
        What::Delete(key) => Body::DeleteJob(DeleteJob { key, uid: None }),
        What::Suspend(key, _, Some((based_on, gang))) => {
            let gang = *gang;
            let update = UpdateJob { key, based_on, manifest, gang, spec_changed: true };
            Body::Apply(vec![Apply::Update(Box::new(update))])
        }
        What::AddMember(address) => Body::AddMember(AddMember { address, version: "0".into() }),
        What::RemoveMember(id) => Body::RemoveMember(RemoveMember { id }),
        What::RemoveNode(name) => Body::RemoveNode(RemoveNode { name }),
    };
    Ask::Command { request, body }
}
