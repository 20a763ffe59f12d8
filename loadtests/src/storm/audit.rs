//! What a storm did to its generations: pure, a verdict over what was found when it had passed.
//!
//! - **Lost**: a generation that the service accepted (a client holds its id) and that did not end
//!   `succeeded` with a PDF that can be downloaded and has the pages it is said to have, or whose webhook
//!   did not arrive, is not signed or tells of another end.
//! - **Duplicated**: a second generation for one `Idempotency-Key`, a generation that no client was
//!   told of, a generation that ended twice, a PDF in the bucket that belongs to none, or a second webhook:
//!   one that is delivered again must be the same, to the letter.
//! - **Double-billed**: a response that `OpenAI` was asked for, that no step used, and that nothing
//!   explains. See [`explanation`].

use std::collections::{BTreeMap, BTreeSet};

use harness::openai::Fate;
use serde::Serialize;

use super::schedule::Seat;

/// How long before and after a disturbance a create may have been under way, in milliseconds: from the
/// request's arrival at `OpenAI` until its id is stored takes milliseconds, on a busy machine more; and
/// what a stalled path held back arrives when it is healed.
pub const MARGIN_MS: u64 = 1_500;

/// What was found.
#[derive(Clone, Debug, Default)]
pub struct Facts {
    /// What clients ordered, and were answered.
    pub orders: Vec<Order>,
    /// What the database says, by id.
    pub generations: BTreeMap<String, Generation>,
    /// Keys of the proposals in the bucket.
    pub proposals: Vec<String>,
    /// Why a proposal could not be downloaded or read, by the generation's id.
    pub unreadable: BTreeMap<String, String>,
    /// What `OpenAI` was asked for, and would bill.
    pub creates: Vec<Create>,
    /// Broken paths.
    pub outages: Vec<Outage>,
    /// Backends that were killed or frozen.
    pub interruptions: Vec<Interruption>,
    /// Webhooks, as often as they came; every order asks for one.
    pub deliveries: Vec<Delivery>,
}

/// An order of a client.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Order {
    /// Its `Idempotency-Key`.
    pub key: String,
    /// The ids that it was answered; none when it never was.
    pub ids: BTreeSet<String>,
}

/// A generation in the database.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Generation {
    /// Its status.
    pub status: String,
    /// Code and words of its error, when it failed.
    pub error: Option<String>,
    /// How often it ended.
    pub ends: u32,
    /// Where its PDF is.
    pub pdf_key: Option<String>,
    /// How many pages that is said to have.
    pub page_count: Option<usize>,
    /// The response that each step used last, by the step's name: only of steps that ask `OpenAI`.
    pub used: BTreeMap<String, Option<String>>,
}

/// A response that was created.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Create {
    /// Its id.
    pub response: String,
    /// When, in milliseconds since the Unix epoch.
    pub at_ms: u64,
    /// Who asked for it, if that is known.
    pub by: Option<Seat>,
    /// For which generation.
    pub generation: String,
    /// For which step.
    pub step: String,
    /// What became of it.
    pub fate: Fate,
}

impl Create {
    fn in_words(&self) -> String {
        let by = self.by.map_or("nobody we know", Seat::name);
        format!(
            "{} at {} ms by {by}, {:?}",
            self.response, self.at_ms, self.fate
        )
    }
}

/// A while in which a path was broken, in milliseconds since the Unix epoch.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize)]
pub struct Outage {
    /// Whose path to `OpenAI` or to Postgres.
    pub of: Seat,
    /// From when.
    pub from_ms: u64,
    /// Until when.
    pub to_ms: u64,
}

/// A backend that was killed or frozen.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct Interruption {
    /// Which one.
    pub of: Seat,
    /// When, in milliseconds since the Unix epoch.
    pub at_ms: u64,
    /// When it went on, of a frozen one.
    pub thawed_at_ms: Option<u64>,
    /// Steps (generation and name) that were being created right afterwards, by the database.
    pub creating: BTreeSet<(String, String)>,
}

/// A webhook that came to its receiver.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Delivery {
    /// Its id (`webhook-id`).
    pub webhook: String,
    /// The generation that it tells of.
    pub generation: String,
    /// The status that it tells.
    pub status: String,
    /// All of it.
    pub body: String,
    /// Whether it is signed with its user's secret.
    pub is_signed: bool,
    /// Whether the receiver kept it; otherwise it refused it, or was silent.
    pub is_taken: bool,
}

/// One thing that must not be.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct Finding {
    /// The generation, the key or the object it is about.
    pub what: String,
    /// What is wrong with it.
    pub how: String,
}

/// The verdict.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize)]
pub struct Audit {
    /// Orders that were accepted.
    pub accepted: usize,
    /// Orders that were never accepted: nothing was promised, so nothing is lost.
    pub never_accepted: usize,
    /// Generations that ended as they should.
    pub succeeded: usize,
    /// Accepted, and not ended as they should.
    pub lost: Vec<Finding>,
    /// More than was ordered.
    pub duplicated: Vec<Finding>,
    /// Asked for at `OpenAI` without need or explanation.
    pub double_billed: Vec<Finding>,
    /// Where the responses went.
    pub responses: Responses,
    /// How the webhooks came.
    pub webhooks: Webhooks,
}

/// How the webhooks came.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize)]
pub struct Webhooks {
    /// Calls of the receiver.
    pub deliveries: usize,
    /// Of these it refused so many, or let them wait in vain.
    pub refused: usize,
    /// Generations whose end it was told of.
    pub told: usize,
    /// Of these so many more than once: at least once is what is promised.
    pub told_again: usize,
}

/// Where the responses went that `OpenAI` was asked for.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize)]
pub struct Responses {
    /// All.
    pub created: usize,
    /// Used by a step.
    pub used: usize,
    /// `OpenAI` ended them without result, lost them, or garbled their answer, as scripted.
    pub spoiled: usize,
    /// Their answer was lost on a path that was broken at that moment.
    pub cut_off: usize,
    /// Their backend was killed or frozen within the create call.
    pub interrupted: usize,
    /// None of it: double-billed.
    pub unexplained: usize,
    /// Of those that are explained by a disturbance, the farthest from it, in milliseconds; [`MARGIN_MS`] is the
    /// limit.
    pub farthest_ms: u64,
}

impl Audit {
    /// Whether nothing was lost, duplicated or billed twice.
    pub fn is_clean(&self) -> bool {
        self.lost.is_empty() && self.duplicated.is_empty() && self.double_billed.is_empty()
    }
}

/// Judges what was found.
pub fn audit(facts: &Facts) -> Audit {
    let mut audit = Audit {
        accepted: facts.orders.iter().filter(|it| !it.ids.is_empty()).count(),
        never_accepted: facts.orders.iter().filter(|it| it.ids.is_empty()).count(),
        ..Audit::default()
    };
    lost(facts, &mut audit);
    duplicated(facts, &mut audit);
    told(facts, &mut audit);
    billed(facts, &mut audit);
    audit
}

fn lost(facts: &Facts, audit: &mut Audit) {
    for id in facts.orders.iter().flat_map(|order| &order.ids) {
        let how = match facts.generations.get(id) {
            None => Some("accepted, and not in the database".to_owned()),
            Some(row) if row.status == "failed" => {
                let why = row.error.as_deref().unwrap_or("without a reason");
                Some(format!("failed: {why}"))
            }
            Some(row) if row.status != "succeeded" => Some(format!("still {}", row.status)),
            Some(row) => match (&row.pdf_key, facts.unreadable.get(id)) {
                (None, _) => Some("succeeded without a PDF".to_owned()),
                (Some(key), _) if !facts.proposals.contains(key) => {
                    Some(format!("succeeded, and {key} is not in the bucket"))
                }
                (Some(_), Some(why)) => Some(format!("its PDF cannot be read: {why}")),
                (Some(_), None) => None,
            },
        };
        match how {
            Some(how) => audit.lost.push(finding(id, how)),
            None => audit.succeeded += 1,
        }
    }
}

fn duplicated(facts: &Facts, audit: &mut Audit) {
    for order in facts.orders.iter().filter(|order| order.ids.len() > 1) {
        for id in order.ids.iter().skip(1) {
            let how = format!("a further generation of one order: {id}");
            audit.duplicated.push(finding(&order.key, how));
        }
    }
    let told: BTreeSet<_> = facts.orders.iter().flat_map(|order| &order.ids).collect();
    let mut keys = BTreeSet::new();
    for (id, row) in &facts.generations {
        if !told.contains(id) {
            let how = "a generation that no client was told of".to_owned();
            audit.duplicated.push(finding(id, how));
        }
        if row.ends > 1 {
            let how = format!("ended {} times", row.ends);
            audit.duplicated.push(finding(id, how));
        }
        keys.extend(&row.pdf_key);
    }
    for key in &facts.proposals {
        if !keys.contains(key) {
            let how = "a PDF that no generation knows of".to_owned();
            audit.duplicated.push(finding(key, how));
        }
    }
}

/// What is wrong with the webhooks of generations that are fine by themselves.
fn told(facts: &Facts, audit: &mut Audit) {
    let mut deliveries: BTreeMap<&str, Vec<&Delivery>> = BTreeMap::new();
    for delivery in &facts.deliveries {
        let of = deliveries.entry(&delivery.generation).or_default();
        of.push(delivery);
    }
    audit.webhooks.deliveries = facts.deliveries.len();
    audit.webhooks.refused = facts.deliveries.iter().filter(|it| !it.is_taken).count();
    for (id, row) in &facts.generations {
        let all = deliveries.remove(id.as_str()).unwrap_or_default();
        let taken = all.iter().filter(|delivery| delivery.is_taken).count();
        audit.webhooks.told += usize::from(taken > 0);
        audit.webhooks.told_again += usize::from(taken > 1);
        if taken == 0 && row.ends > 0 {
            let how = format!("{}, and its receiver was never told", row.status);
            audit.lost.push(finding(id, how));
        }
        if all.iter().any(|delivery| !delivery.is_signed) {
            let how = "told of under a signature that is not its user's".to_owned();
            audit.lost.push(finding(id, how));
        }
        if let Some(other) = all.iter().find(|delivery| delivery.status != row.status) {
            let how = format!("{}, and told of as {:?}", row.status, other.status);
            audit.lost.push(finding(id, how));
        }
        let contents: BTreeSet<_> = all.iter().map(|one| (&one.webhook, &one.body)).collect();
        if contents.len() > 1 {
            let how = format!("told of in {} different webhooks", contents.len());
            audit.duplicated.push(finding(id, how));
        }
    }
    for id in deliveries.into_keys() {
        let how = "a webhook of no generation in the database".to_owned();
        audit.duplicated.push(finding(id, how));
    }
}

fn billed(facts: &Facts, audit: &mut Audit) {
    // An interruption explains one create of a step, not two.
    let mut spent = BTreeSet::new();
    audit.responses.created = facts.creates.len();
    for create in &facts.creates {
        let used = facts
            .generations
            .get(&create.generation)
            .and_then(|row| row.used.get(&create.step));
        if used.is_some_and(|used| used.as_deref() == Some(create.response.as_str())) {
            audit.responses.used += 1;
            continue;
        }
        let responses = &mut audit.responses;
        match explanation(facts, create, &mut spent) {
            Some(Explanation::Spoiled) => responses.spoiled += 1,
            Some(Explanation::CutOff { away_ms }) => {
                responses.cut_off += 1;
                responses.farthest_ms = responses.farthest_ms.max(away_ms);
            }
            Some(Explanation::Interrupted { away_ms }) => {
                responses.interrupted += 1;
                responses.farthest_ms = responses.farthest_ms.max(away_ms);
            }
            None => {
                responses.unexplained += 1;
                let same = |one: &&Create| {
                    (&one.generation, &one.step) == (&create.generation, &create.step)
                };
                let all: Vec<_> = facts
                    .creates
                    .iter()
                    .filter(same)
                    .map(Create::in_words)
                    .collect();
                let how = format!(
                    "{} asked once too often: {}; all of its responses: {}",
                    create.step,
                    create.in_words(),
                    all.join(", ")
                );
                audit.double_billed.push(finding(&create.generation, how));
            }
        }
    }
}

/// Why a response was asked for that no step used.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Explanation {
    Spoiled,
    CutOff { away_ms: u64 },
    Interrupted { away_ms: u64 },
}

/// The API of `OpenAI` has no idempotency keys, so a create whose answer is lost must be repeated, and
/// what it created is paid for nothing. That is allowed where, and only where, the storm did it:
///
/// - `OpenAI` spoiled the response, as scripted;
/// - while it was created, the path of that backend to `OpenAI` or to Postgres was broken: the id did
///   not arrive, or could not be stored while the lease lasted;
/// - that backend was killed or frozen, and the database says that this very step was being created at
///   that moment: one create each.
fn explanation(
    facts: &Facts,
    create: &Create,
    spent: &mut BTreeSet<(usize, String, String)>,
) -> Option<Explanation> {
    match create.fate {
        Fate::Garbled | Fate::Incomplete | Fate::Failed | Fate::Lost => {
            return Some(Explanation::Spoiled);
        }
        Fate::Sound | Fate::Cancelled => {}
    }
    let by = create.by?;
    let away = |from_ms: u64, to_ms: u64| {
        let before_ms = from_ms.saturating_sub(create.at_ms);
        let after_ms = create.at_ms.saturating_sub(to_ms);
        Some(before_ms.max(after_ms)).filter(|away_ms| *away_ms <= MARGIN_MS)
    };
    let own = facts.outages.iter().filter(|outage| outage.of == by);
    let nearest_ms = own
        .filter_map(|outage| away(outage.from_ms, outage.to_ms))
        .min();
    // First, for it explains any number: an interruption is left for what nothing else explains.
    if let Some(away_ms) = nearest_ms {
        return Some(Explanation::CutOff { away_ms });
    }
    let step = (create.generation.clone(), create.step.clone());
    for (index, interruption) in facts.interruptions.iter().enumerate() {
        if interruption.of != by || !interruption.creating.contains(&step) {
            continue;
        }
        let moments = [Some(interruption.at_ms), interruption.thawed_at_ms];
        let nearest_ms = moments
            .into_iter()
            .flatten()
            .filter_map(|at_ms| away(at_ms, at_ms))
            .min();
        if let Some(away_ms) = nearest_ms
            && spent.insert((index, step.0.clone(), step.1.clone()))
        {
            return Some(Explanation::Interrupted { away_ms });
        }
    }
    None
}

fn finding(what: &str, how: String) -> Finding {
    Finding {
        what: what.to_owned(),
        how,
    }
}

#[cfg(test)]
mod tests;
