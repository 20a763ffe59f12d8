//! What a vCPU of the deployment counts for, against a core of the machine that was measured.

use serde::Serialize;
use simulator::scenario::Profile;

use crate::calibrate::Calibration;
use crate::cpu_score;

/// What a vCPU of the deployment is taken for.
#[derive(Clone, Copy, Debug, PartialEq, Serialize)]
pub struct VcpuFactor {
    /// CPU time on the deployment over CPU time on the machine that was measured.
    pub factor: f64,
    /// Score of the machine that was measured.
    pub calibrated_score: Option<f64>,
    /// Score of the deployment, when somebody took it.
    pub deployment_score: Option<f64>,
}

impl VcpuFactor {
    /// From the calibration, and the score that `sizing cpu-score` printed on the deployment.
    pub fn new(calibration: &Calibration, deployment_score: Option<f64>) -> Self {
        Self {
            factor: cpu_score::factor(calibration.cpu_score, deployment_score),
            calibrated_score: calibration.cpu_score,
            deployment_score,
        }
    }

    /// What is assumed, in a sentence.
    pub fn statement(&self, cpu_model: &str) -> String {
        match (self.calibrated_score, self.deployment_score) {
            (Some(calibrated), Some(deployment)) => format!(
                "vCPU factor {:.2}: CPU times were measured on {cpu_model}, score {calibrated:.0}; the \
                 deployment's vCPU has score {deployment:.0}.",
                self.factor
            ),
            (_, Some(deployment)) => format!(
                "vCPU factor {:.2}: the deployment's vCPU has score {deployment:.0}, but the calibration has \
                 none to compare it with; measure again.",
                self.factor
            ),
            (_, None) => format!(
                "vCPU factor {:.2}, assumed: a vCPU of the deployment counts as a core of {cpu_model}. \
                 `sizing cpu-score` on the deployment, then --vcpu-score, replaces the assumption.",
                self.factor
            ),
        }
    }
}

/// The profile that the simulator runs with, a vCPU being a core of the machine that was measured.
pub fn profile(calibration: &Calibration) -> Profile {
    profile_on(calibration, VcpuFactor::new(calibration, None))
}

/// The profile that the simulator runs with, for a deployment whose vCPU is faster or slower.
pub fn profile_on(calibration: &Calibration, vcpu: VcpuFactor) -> Profile {
    Profile {
        cpu_s_per_generation: calibration.cpu_s_per_generation_at_most() * vcpu.factor,
        memory_base_mib: calibration.memory_base_mib.value,
        memory_per_generation_kib: calibration.memory_per_generation_kib.value,
        // Clients' polls are part of the measured generation.
        cpu_s_per_poll: 0.0,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_vcpu_factor_scales_cpu_time_and_says_what_it_assumes() {
        let mut calibration = crate::calibrate::tests::calibration();
        calibration.cpu_score = Some(100.0);
        let assumed = VcpuFactor::new(&calibration, None);
        assert!(assumed.statement("EPYC").contains("factor 1.00, assumed"));
        let measured = VcpuFactor::new(&calibration, Some(80.0));
        assert!(measured.statement("EPYC").contains("factor 1.25"));
        let ratio = profile_on(&calibration, measured).cpu_s_per_generation
            / profile(&calibration).cpu_s_per_generation;
        assert!((ratio - 1.25).abs() < 1e-12);
    }
}
