//! Pure discrete-event simulation of the fleet.
