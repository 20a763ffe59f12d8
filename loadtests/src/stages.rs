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

/// The other values of the proposal.
pub(crate) const PROPOSAL_SETTINGS: &str =
    include_str!("../../terraform/environments/settings/proposal.tfvars");

/// The other values of each stage.
pub(crate) const STAGE_SETTINGS: [&str; 3] = [
    include_str!("../../terraform/environments/settings/mvp.tfvars"),
    include_str!("../../terraform/environments/settings/growth.tfvars"),
    include_str!("../../terraform/environments/settings/scale.tfvars"),
];

/// What each stage must do, beside the load that it is for: the file that the gate reads, and its text.
pub(crate) const STAGE_SLOS: [(&str, &str); 3] = [
    ("loadtests/slo/mvp.toml", include_str!("../slo/mvp.toml")),
    (
        "loadtests/slo/growth.toml",
        include_str!("../slo/growth.toml"),
    ),
    (
        "loadtests/slo/scale.toml",
        include_str!("../slo/scale.toml"),
    ),
];
