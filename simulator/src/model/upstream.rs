//! The calls to the AI provider: what of a step survives its worker, and what a NAT gateway cuts.

use super::generation::Generation;
use crate::platform::Platform;
use crate::scenario::{Fleet, UpstreamCall};
use crate::time::Duration;

/// A NAT gateway forgets a connection that is silent for longer, and resets it:
/// <https://repost.aws/knowledge-center/vpc-troubleshoot-nat-gateway-connection>.
const NAT_IDLE_MAX: Duration = Duration::from_secs(350);

#[derive(Clone, Copy, Debug)]
pub(super) struct Upstream {
    call: UpstreamCall,
    /// Calls of a generation, one after the other and equally long.
    steps: u32,
    /// Whether a silent connection passes a NAT gateway.
    behind_nat: bool,
}

impl Upstream {
    pub(super) fn new(fleet: &Fleet, steps: u32) -> Upstream {
        Upstream {
            call: fleet.upstream_call,
            steps,
            behind_nat: fleet.upstream_call == UpstreamCall::Blocking
                && !fleet.upstream_keep_alive
                && fleet.platform == Platform::Fargate
                && fleet.nat_gateways > 0,
        }
    }

    /// How long a worker runs a generation of this length until its connection is cut; none if it never is.
    ///
    /// A worker always begins at the start of a step when its calls block, and all steps are equally silent, so it is
    /// the first one that is cut.
    pub(super) fn cut_after(&self, length: Duration) -> Option<Duration> {
        let step_ns = || length.as_nanos() / u64::from(self.steps);
        let is_cut = self.behind_nat && step_ns() > NAT_IDLE_MAX.as_nanos();
        is_cut.then_some(NAT_IDLE_MAX)
    }

    /// Requests that a worker which takes this generation up has still to make, all of them counted at once.
    pub(super) fn requests_left(&self, generation: &Generation) -> u32 {
        let step_ns = (generation.length.as_nanos() / u64::from(self.steps)).max(1);
        let done = u32::try_from(generation.done.as_nanos() / step_ns).unwrap_or(u32::MAX);
        // The one that is under way goes on by its response id, if it ever had a worker.
        let under_way = self.call == UpstreamCall::Background && generation.runs > 1;
        self.steps
            .saturating_sub(done.saturating_add(u32::from(under_way)))
    }

    /// A worker takes a generation up again, so long after it lost its last one.
    pub(super) fn resume(&self, generation: &mut Generation, gap: Duration) {
        match self.call {
            UpstreamCall::Background => generation.resume(gap, self.steps),
            UpstreamCall::Blocking => generation.begin_step_again(self.steps),
        }
    }
}
