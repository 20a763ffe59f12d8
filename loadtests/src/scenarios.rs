//! Who uses the service in a run, and when they come.

pub mod goose_users;
pub mod planned_users;
pub mod proposal_writer;
pub mod waiting_users;
