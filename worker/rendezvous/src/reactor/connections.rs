//! The connections, by an id that is never used for another one.

use rustix::io::Errno;

use super::connection::Connection;

/// A connection. The number of its slot, and how many connections had the slot before.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub(crate) struct ConnectionId {
    slot: u32,
    reuse: u32,
}

/// The connections that are open.
#[derive(Debug, Default)]
pub(crate) struct Connections {
    slots: Vec<Slot>,
    free: Vec<u32>,
    /// Slots that became free in this turn. Events of the turn may still name their connections.
    freed: Vec<u32>,
    len: usize,
}

#[derive(Debug)]
struct Slot {
    reuse: u32,
    connection: Option<Box<Connection>>,
}

impl Connections {
    pub(crate) fn len(&self) -> usize {
        self.len
    }

    /// Adds what `make` makes.
    pub(crate) fn insert(
        &mut self,
        make: impl FnOnce(ConnectionId) -> Result<Connection, Errno>,
    ) -> Result<(), Errno> {
        let slot = self.free.pop().unwrap_or_else(|| {
            self.slots.push(Slot { reuse: 0, connection: None });
            (self.slots.len() - 1) as u32
        });
        let entry = &mut self.slots[slot as usize];
        match make(ConnectionId { slot, reuse: entry.reuse }) {
            Ok(connection) => {
                entry.connection = Some(Box::new(connection));
                self.len += 1;
                Ok(())
            }
            Err(errno) => {
                self.free.push(slot);
                Err(errno)
            }
        }
    }

    pub(crate) fn get_mut(&mut self, id: ConnectionId) -> Option<&mut Connection> {
        let slot = self.slots.get_mut(id.slot as usize)?;
        if slot.reuse == id.reuse { slot.connection.as_deref_mut() } else { None }
    }

    pub(crate) fn remove(&mut self, id: ConnectionId) -> Option<Box<Connection>> {
        self.get_mut(id)?;
        let slot = &mut self.slots[id.slot as usize];
        let connection = slot.connection.take()?;
        slot.reuse = slot.reuse.wrapping_add(1);
        self.freed.push(id.slot);
        self.len -= 1;
        Some(connection)
    }

    /// All events of the turn are handled: freed slots may be used again.
    pub(crate) fn end_turn(&mut self) {
        self.free.append(&mut self.freed);
    }
}

impl From<u64> for ConnectionId {
    fn from(token: u64) -> Self {
        Self { slot: token as u32, reuse: (token >> 32) as u32 }
    }
}

impl From<ConnectionId> for u64 {
    fn from(id: ConnectionId) -> Self {
        u64::from(id.reuse) << 32 | u64::from(id.slot)
    }
}
