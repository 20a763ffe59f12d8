//! What the page's numbers may be: one list, which its fields are written with and a link is held to.

use std::collections::BTreeMap;
use std::fmt;

use simulator::platform::ALB_IDLE_TIMEOUT_S_MAX;
use simulator::prices::fargate_pairs;

/// A number of the page, from `least` to `most`.
#[derive(Clone, Copy, Debug)]
pub(super) struct Bounds {
    /// The name of its field.
    pub field: &'static str,
    least: u32,
    most: u32,
    /// Whether only whole numbers count something.
    whole: bool,
}

const fn whole(field: &'static str, least: u32, most: u32) -> Bounds {
    Bounds {
        field,
        least,
        most,
        whole: true,
    }
}

/// Every number that is typed in. What is simulated at once has to end at once: a larger sizing is the gate's.
pub(super) const BOUNDS: [Bounds; 8] = [
    Bounds {
        // Fewer ask for so little that one worker would do, which no gate could judge.
        whole: false,
        ..whole("users", 100, 60_000)
    },
    whole("generation_workers", 1, 512),
    whole("tasks_min", 1, 50),
    whole("tasks_desired", 1, 50),
    whole("tasks_max", 1, 50),
    whole("alb_idle_timeout_s", 1, ALB_IDLE_TIMEOUT_S_MAX),
    whole("deregistration_delay_s", 0, 3_600),
    whole("stop_timeout_s", 2, 120),
];

/// The largest task that is offered, in vCPU.
const VCPU_MAX: f64 = 4.0;

impl Bounds {
    /// Those of a field, if it is one that is typed in.
    pub(super) fn of(field: &str) -> Option<Bounds> {
        BOUNDS.into_iter().find(|bounds| bounds.field == field)
    }

    /// Whether a number is within them.
    pub(super) fn hold(self, number: f64) -> bool {
        (f64::from(self.least)..=f64::from(self.most)).contains(&number)
            && (!self.whole || number.fract() == 0.0)
    }

    /// The attributes of the field that a browser checks.
    pub(super) fn attributes(self) -> String {
        let step = if self.whole { "" } else { " step=\"any\"" };
        format!("min=\"{}\" max=\"{}\"{step}", self.least, self.most)
    }
}

impl fmt::Display for Bounds {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let kind = if self.whole {
            "a whole number"
        } else {
            "a number"
        };
        write!(f, "{kind} from {} to {}", self.least, self.most)
    }
}

/// CPU units of the tasks that are offered, to the memories in MiB that Fargate sells with them.
pub(super) fn sizes() -> BTreeMap<String, Vec<String>> {
    let mut sizes: BTreeMap<String, Vec<String>> = BTreeMap::new();
    let offered = fargate_pairs().into_iter();
    for (vcpu, gib) in offered.filter(|(vcpu, _)| *vcpu <= VCPU_MAX) {
        sizes
            .entry(format!("{:.0}", vcpu * 1024.0))
            .or_default()
            .push(format!("{:.0}", gib * 1024.0));
    }
    sizes
}
