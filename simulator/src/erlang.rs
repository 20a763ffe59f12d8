//! Closed formulas of queueing theory: what the simulation must agree with where theory is exact.
//!
//! `offered_load` is the arrival rate times the mean service time, in Erlang; `servers` work in parallel. Waiting
//! times are in seconds, and none where the queue grows without end.

/// Share of arrivals blocked in M/G/c/c, by Erlang's recursion (Erlang 1917; Kleinrock, Queueing Systems I, 3.6).
pub fn erlang_b(servers: u32, offered_load: f64) -> f64 {
    (1..=servers).fold(1.0, |blocked, n| {
        let load = offered_load * blocked;
        load / (f64::from(n) + load)
    })
}

/// Probability of having to wait in M/M/c (Erlang C; Kleinrock, Queueing Systems I, 3.5), 1 when the load is not below
/// the servers.
pub fn erlang_c(servers: u32, offered_load: f64) -> f64 {
    let utilization = offered_load / f64::from(servers);
    if utilization >= 1.0 {
        return 1.0;
    }
    let blocked = erlang_b(servers, offered_load);
    blocked / (1.0 - utilization * (1.0 - blocked))
}

/// Mean wait in M/M/c: Erlang C over the spare service rate (Kleinrock, Queueing Systems I, 3.5).
pub fn mmc_mean_wait_s(servers: u32, arrivals_per_s: f64, mean_service_s: f64) -> Option<f64> {
    let offered_load = arrivals_per_s * mean_service_s;
    let spare = f64::from(servers) - offered_load;
    (spare > 0.0).then(|| erlang_c(servers, offered_load) * mean_service_s / spare)
}

/// Quantile of the wait in M/M/c with first come, first served: the wait beyond zero is exponential (Gross and
/// Harris, Fundamentals of Queueing Theory, 2.3).
pub fn mmc_wait_quantile_s(
    servers: u32,
    arrivals_per_s: f64,
    mean_service_s: f64,
    share: f64,
) -> Option<f64> {
    let offered_load = arrivals_per_s * mean_service_s;
    let spare = f64::from(servers) - offered_load;
    let waits = erlang_c(servers, offered_load);
    (spare > 0.0 && (0.0..1.0).contains(&share)).then(|| {
        if waits <= 1.0 - share {
            return 0.0;
        }
        libm::log(waits / (1.0 - share)) * mean_service_s / spare
    })
}

/// Mean wait in M/G/1 (Pollaczek and Khinchine; Kleinrock, Queueing Systems I, 5.6). `cv2` is the squared coefficient
/// of variation of the service time.
pub fn pollaczek_khinchine_mean_wait_s(
    arrivals_per_s: f64,
    mean_service_s: f64,
    cv2: f64,
) -> Option<f64> {
    let utilization = arrivals_per_s * mean_service_s;
    (utilization < 1.0)
        .then(|| utilization * mean_service_s * (1.0 + cv2) / (2.0 * (1.0 - utilization)))
}

/// Mean wait in M/D/1: Pollaczek and Khinchine without variation.
pub fn md1_mean_wait_s(arrivals_per_s: f64, mean_service_s: f64) -> Option<f64> {
    pollaczek_khinchine_mean_wait_s(arrivals_per_s, mean_service_s, 0.0)
}

/// Approximate mean wait in M/G/c: that of M/M/c times the mean of the two squared coefficients of variation (Lee and
/// Longton 1959; Allen and Cunneen's formula with Poisson arrivals). Exact for one server and for exponential service.
pub fn mgc_mean_wait_s(
    servers: u32,
    arrivals_per_s: f64,
    mean_service_s: f64,
    cv2: f64,
) -> Option<f64> {
    mmc_mean_wait_s(servers, arrivals_per_s, mean_service_s).map(|wait| wait * (1.0 + cv2) / 2.0)
}

/// Approximate mean wait in M/D/c: half of that of M/M/c with the correction of Cosmetatos (Operational Research
/// Quarterly, 1976). Lee and Longton's half alone is some percent short at middling loads.
pub fn mdc_mean_wait_s(servers: u32, arrivals_per_s: f64, mean_service_s: f64) -> Option<f64> {
    let c = f64::from(servers);
    let utilization = arrivals_per_s * mean_service_s / c;
    let correction = (1.0 - utilization) * (c - 1.0) * (libm::sqrt(4.0 + 5.0 * c) - 2.0)
        / (16.0 * utilization * c);
    mmc_mean_wait_s(servers, arrivals_per_s, mean_service_s)
        .map(|wait| wait * 0.5 * (1.0 + correction))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn close(actual: f64, expected: f64) {
        assert!((actual - expected).abs() < 5e-5, "{actual} for {expected}");
    }

    #[test]
    fn erlang_b_and_c_give_their_tabulated_values() {
        // Standard traffic tables: 10 servers at 4.46 Erlang block 1 %; 2 servers at 1 Erlang wait with 1/3.
        assert!((erlang_b(10, 4.461) - 0.01).abs() < 1e-4);
        close(erlang_b(1, 1.0), 0.5);
        close(erlang_c(2, 1.0), 1.0 / 3.0);
        close(erlang_c(1, 0.7), 0.7);
        close(erlang_c(3, 3.5), 1.0);
    }

    #[test]
    fn waits_agree_where_formulas_overlap() {
        let mm1 = mmc_mean_wait_s(1, 0.8, 1.0).expect("stable");
        close(mm1, 4.0);
        close(
            pollaczek_khinchine_mean_wait_s(0.8, 1.0, 1.0).expect("stable"),
            mm1,
        );
        close(md1_mean_wait_s(0.8, 1.0).expect("stable"), mm1 / 2.0);
        close(
            mgc_mean_wait_s(1, 0.8, 1.0, 0.0).expect("stable"),
            mm1 / 2.0,
        );
        close(mdc_mean_wait_s(1, 0.8, 1.0).expect("stable"), mm1 / 2.0);
        assert_eq!(mmc_mean_wait_s(2, 2.0, 1.0), None);
        // P(wait > t) = 0.8 exp(-0.2 t) in M/M/1.
        close(
            mmc_wait_quantile_s(1, 0.8, 1.0, 0.95).expect("stable"),
            libm::log(16.0) / 0.2,
        );
        close(
            mmc_wait_quantile_s(1, 0.04, 1.0, 0.95).expect("stable"),
            0.0,
        );
    }
}
