//! A storm: compressed generations on two backends while everything around them goes wrong, and the
//! audit of what became of them.
//!
//! What goes wrong follows from a seed ([`schedule`]); what is found afterwards is judged by a pure
//! function ([`audit`]). Between the two lies the only I/O: [`run`].

pub mod audit;
pub mod clients;
pub mod evidence;
pub mod fleet;
pub mod receiver;
pub mod run;
pub mod schedule;
pub mod settings;
pub mod table;
pub mod weather;
