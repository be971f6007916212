//! The operations and the fields of their requests.

/// An operation. The numbers are the wire's.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Opcode {
    Set,
    CompareSet,
    Get,
    Add,
    Check,
    Wait,
    GetNumKeys,
    DeleteKey,
    Append,
    MultiGet,
    MultiSet,
    CancelWait,
    Ping,
    QueuePush,
    QueuePop,
    QueueLen,
    ListKeys,
    Barrier,
}

/// One field of a request.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Field {
    Key,
    Value,
    /// Eight bytes.
    Word,
    /// Four bytes.
    Nonce,
    /// A count, and as many keys.
    Keys,
    /// A count, and as many keys with a value after each.
    Pairs,
}

impl Opcode {
    /// `None` for the opening's number, 0, and for what a newer torch may have.
    pub(crate) fn from_byte(byte: u8) -> Option<Self> {
        Some(match byte {
            1 => Self::Set,
            2 => Self::CompareSet,
            3 => Self::Get,
            4 => Self::Add,
            5 => Self::Check,
            6 => Self::Wait,
            7 => Self::GetNumKeys,
            8 => Self::DeleteKey,
            9 => Self::Append,
            10 => Self::MultiGet,
            11 => Self::MultiSet,
            12 => Self::CancelWait,
            13 => Self::Ping,
            14 => Self::QueuePush,
            15 => Self::QueuePop,
            16 => Self::QueueLen,
            17 => Self::ListKeys,
            18 => Self::Barrier,
            _ => return None,
        })
    }

    pub(crate) fn fields(self) -> &'static [Field] {
        use Field::{Key, Keys, Nonce, Pairs, Value, Word};
        match self {
            Self::Set | Self::Append | Self::QueuePush => &[Key, Value],
            Self::CompareSet => &[Key, Value, Value],
            Self::Get | Self::DeleteKey | Self::QueuePop | Self::QueueLen => &[Key],
            Self::Add | Self::Barrier => &[Key, Word],
            Self::Check | Self::Wait | Self::MultiGet => &[Keys],
            Self::MultiSet => &[Pairs],
            Self::GetNumKeys | Self::CancelWait | Self::ListKeys => &[],
            Self::Ping => &[Nonce],
        }
    }
}
