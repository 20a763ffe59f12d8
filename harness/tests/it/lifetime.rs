//! Nothing outlives its owner.
