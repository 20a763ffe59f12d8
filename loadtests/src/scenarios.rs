//! The kinds of users that a load consists of, one file each.

pub mod proposal_writer;
