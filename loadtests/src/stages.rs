//! The review's stages as they are committed: users and values for Terraform.

/// Users that the load of `slo.toml` stands for.
pub(crate) const SLO_USERS: f64 = 1_000.0;

/// The values of the proposal, to the letter.
pub(crate) const PROPOSAL: &str = include_str!("../../terraform/environments/proposal.tfvars");

/// Name, users at the top and values of each stage. The review leaves the last stage open; twice the second is
/// taken, as in `slo/scale.toml`.
pub(crate) const STAGES: [(&str, f64, &str); 3] = [
    (
        "mvp",
        1_000.0,
        include_str!("../../terraform/environments/mvp.tfvars"),
    ),
    (
        "growth",
        10_000.0,
        include_str!("../../terraform/environments/growth.tfvars"),
    ),
    (
        "scale",
        20_000.0,
        include_str!("../../terraform/environments/scale.tfvars"),
    ),
];
