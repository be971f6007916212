//! Reads the fields of a request that [`Scan`](super::Scan) has found to be whole.

/// What is left of the request.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Fields<'a> {
    rest: &'a [u8],
}

impl<'a> Fields<'a> {
    /// `request` begins with the operation's byte.
    pub(crate) fn new(request: &'a [u8]) -> Self {
        Self { rest: &request[1..] }
    }

    /// A key or a value.
    pub(crate) fn string(&mut self) -> &'a [u8] {
        let len = self.word();
        let (string, rest) = self.rest.split_at(len as usize);
        self.rest = rest;
        string
    }

    /// A length, a count or the bits of an `i64`.
    pub(crate) fn word(&mut self) -> u64 {
        u64::from_le_bytes(self.array())
    }

    pub(crate) fn nonce(&mut self) -> [u8; 4] {
        self.array()
    }

    /// The strings of a list: its count, then they.
    pub(crate) fn keys(&mut self) -> Keys<'a> {
        let left = self.word();
        Keys { fields: *self, left }
    }

    fn array<const N: usize>(&mut self) -> [u8; N] {
        let (array, rest) = self.rest.split_first_chunk().expect("the request was scanned whole");
        self.rest = rest;
        *array
    }
}

/// The keys of a list.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Keys<'a> {
    fields: Fields<'a>,
    left: u64,
}

impl<'a> Iterator for Keys<'a> {
    type Item = &'a [u8];

    fn next(&mut self) -> Option<Self::Item> {
        self.left = self.left.checked_sub(1)?;
        Some(self.fields.string())
    }
}
