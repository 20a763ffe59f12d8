//! Where in a list a task or a worker is.

/// An index of 32 bits: every generation and every pending event names some, and there are as many of them as are in
/// flight.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Place(u32);

impl Place {
    pub(super) fn of(index: usize) -> Place {
        Place(u32::try_from(index).expect("a checked scenario has less than 2^32 workers"))
    }

    pub(super) fn index(self) -> usize {
        self.0 as usize
    }
}
