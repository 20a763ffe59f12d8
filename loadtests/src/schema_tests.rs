//! Holds the published JSON Schemas to what this crate writes: every key is described, every described
//! key is written, and every type fits.

use serde_json::Value;

use crate::calibrate::tests::{calibration, cell, measurement};
use crate::cgroup::CpuTime;
use crate::cpu_score::CpuScore;
use crate::histogram::Latencies;
use crate::measurement::{Mark, Measurement, OpenRun, Plan, ServiceUse, Shard};
use crate::stats::Mean;

/// Checks `value` against the part of JSON Schema 2020-12 that the published files use. A keyword that
/// this does not know is a defect of the file or of this test, and is said.
fn check(root: &Value, schema: &Value, value: &Value, path: &str) -> Result<(), String> {
    let rules = schema
        .as_object()
        .ok_or_else(|| format!("{path}: no schema"))?;
    for (keyword, rule) in rules {
        let holds = match keyword.as_str() {
            "$schema" | "$defs" | "title" | "description" => true,
            "$ref" => {
                let name = rule.as_str().and_then(|text| text.strip_prefix("#/$defs/"));
                let target = name.and_then(|name| root["$defs"].get(name));
                let target = target.ok_or_else(|| format!("{path}: {rule} leads nowhere"))?;
                check(root, target, value, path)?;
                true
            }
            "type" => match rule.as_str() {
                Some("object") => value.is_object(),
                Some("array") => value.is_array(),
                Some("string") => value.is_string(),
                Some("boolean") => value.is_boolean(),
                Some("number") => value.is_number(),
                Some("integer") => value.is_u64() || value.is_i64(),
                Some("null") => value.is_null(),
                _ => false,
            },
            "minimum" => value.as_f64() >= rule.as_f64(),
            "enum" => rule
                .as_array()
                .is_some_and(|allowed| allowed.contains(value)),
            "anyOf" => {
                let choices = rule.as_array().into_iter().flatten();
                choices
                    .into_iter()
                    .any(|choice| check(root, choice, value, path).is_ok())
            }
            "items" => {
                for (index, item) in value.as_array().into_iter().flatten().enumerate() {
                    check(root, rule, item, &format!("{path}[{index}]"))?;
                }
                true
            }
            "minItems" => value.as_array().map(|items| items.len() as u64) >= rule.as_u64(),
            "maxItems" => value.as_array().map(|items| items.len() as u64) <= rule.as_u64(),
            "properties" => {
                for (key, item) in value.as_object().into_iter().flatten() {
                    if let Some(schema) = rule.get(key) {
                        check(root, schema, item, &format!("{path}.{key}"))?;
                    }
                }
                true
            }
            "required" => {
                let missing = rule
                    .as_array()
                    .into_iter()
                    .flatten()
                    .filter_map(Value::as_str)
                    .find(|key| value.get(key).is_none());
                match missing {
                    Some(key) => return Err(format!("{path}: `{key}` is missing")),
                    None => true,
                }
            }
            "additionalProperties" => {
                let known = |key: &String| rules["properties"].get(key).is_some();
                match value
                    .as_object()
                    .into_iter()
                    .flatten()
                    .find(|(key, _)| !known(key))
                {
                    Some((key, _)) => return Err(format!("{path}: `{key}` is not described")),
                    None => true,
                }
            }
            other => return Err(format!("{path}: this test does not know `{other}`")),
        };
        if !holds {
            return Err(format!("{path}: {value} breaks `{keyword}`: {rule}"));
        }
    }
    Ok(())
}

fn fits(schema: &str, value: &impl serde::Serialize) -> Result<(), String> {
    let schema: Value = serde_json::from_str(schema).expect("the schema is JSON");
    let value = serde_json::to_value(value).expect("plain data");
    check(&schema, &schema, &value, "$")
}

const MEASUREMENT: &str = include_str!("../schemas/measurement.schema.json");
const CALIBRATION: &str = include_str!("../schemas/calibration.schema.json");
const FIDELITY: &str = include_str!("../schemas/fidelity.schema.json");
const CPU_SCORE: &str = include_str!("../schemas/cpu-score.schema.json");

/// A measurement in which nothing is absent.
fn full() -> Measurement {
    let some = Some(1.5);
    let cpu = Some(CpuTime {
        user_s: 0.1,
        system_s: 0.01,
    });
    let mut cell = cell(6, 0.05, 40_000);
    cell.memory_peak_kib = Some(50_000);
    cell.memory_per_generation_kib = Some(Mean {
        value: 200.0,
        std_err: 10.0,
        n: 6,
    });
    cell.marks = vec![Mark::CpuBound, Mark::Unsettled];
    cell.experience.wait = Latencies::of([0.5, 1.0, 1.0]);
    cell.services = ServiceUse {
        postgres_cpu_per_generation: cpu,
        redis_cpu_per_generation: cpu,
        s3_cpu_per_generation: cpu,
        db_connections_mean: some,
        db_connections_max: Some(9),
        db_transactions_per_generation: some,
        db_ms_per_generation: some,
        db_statements_per_generation: some,
        redis_commands_per_generation: some,
        redis_bytes_in_per_generation: some,
        redis_bytes_out_per_generation: some,
        ..ServiceUse::default()
    };
    let open = OpenRun {
        shape: Some(cell.shape()),
        target: Some("http://target".to_owned()),
        plan: Plan {
            rate_per_hour: 19.2,
            length_s: 36.0,
            warmup_s: 6.0,
            seed: 42,
        },
        shards: vec![Shard { index: 1, of: 1 }],
        planned: 3,
        dropped_arrivals: 1,
        completed: 1,
        failures: 1,
        first_failure: Some("refused".to_owned()),
        censored: 1,
        throughput_per_hour: 100.0,
        latency: Latencies::of([6.1]),
        lateness: Latencies::of([0.001, 0.2]),
        experience: cell.experience.clone(),
        cpu_utilization: some,
        observer: cell.observer,
        marks: vec![Mark::Failures],
        complete: true,
    };
    let mut measurement = measurement(vec![cell]);
    measurement.hardware.cpu_score = some;
    measurement.hardware.cpu_quota_cores = some;
    measurement.hardware.images = vec![crate::hardware::Image {
        name: "postgres:15".to_owned(),
        id: "sha256:0".to_owned(),
    }];
    measurement.open_runs = vec![open];
    measurement.incomplete_because = Some("interrupted".to_owned());
    measurement
}

#[test]
fn what_is_written_fits_its_schema() {
    fits(MEASUREMENT, &full()).expect("a full measurement");
    fits(MEASUREMENT, &measurement(vec![cell(1, 0.05, 40_000)])).expect("a sparse one");
    let calibration = calibration();
    fits(CALIBRATION, &calibration).expect("a calibration");
    let committed: Value = serde_json::from_str(include_str!("../results/calibration.json"))
        .expect("the committed calibration");
    assert!(
        committed["cpu_law"].is_object(),
        "nothing of the law is held to the schema"
    );
    fits(CALIBRATION, &committed).expect("the committed calibration");
    let mut small: crate::calibrate::Calibration =
        serde_json::from_value(committed).expect("the committed calibration");
    small.cpu_law.as_mut().expect("a law").shape_recorded = true;
    fits(CALIBRATION, &small).expect("one of a grid too small for a law");
    let fidelity = crate::fidelity::compare(&full(), &calibration).expect("Fargate sells it");
    fits(FIDELITY, &fidelity).expect("a fidelity");
    let score = CpuScore {
        score: 100.0,
        ci95_share: Some(0.01),
        cpu_model: "test".to_owned(),
        cpu_quota_cores: None,
    };
    fits(CPU_SCORE, &score).expect("a score");
}

#[test]
fn every_described_key_of_a_measurement_is_written() {
    let schema: Value = serde_json::from_str(MEASUREMENT).expect("the schema is JSON");
    let mut strict = schema.clone();
    // What may be absent must be there in a measurement in which nothing is.
    let make_strict = |object: &mut Value| {
        if let Some(properties) = object.get("properties").and_then(Value::as_object) {
            let keys: Vec<Value> = properties.keys().map(|key| key.as_str().into()).collect();
            object["required"] = Value::Array(keys);
        }
    };
    make_strict(&mut strict);
    for definition in strict["$defs"]
        .as_object_mut()
        .expect("definitions")
        .values_mut()
    {
        make_strict(definition);
    }
    let value = serde_json::to_value(full()).expect("plain data");
    check(&strict, &strict, &value, "$").expect("every key");
}

#[test]
fn a_wrong_or_unknown_key_is_refused() {
    let mut value = serde_json::to_value(full()).expect("plain data");
    value["cells"][0]["workers"] = Value::from("six");
    let error = fits(MEASUREMENT, &value).expect_err("a text is no number");
    assert!(error.contains("$.cells[0].workers"), "{error}");
    let mut value = serde_json::to_value(full()).expect("plain data");
    value["surprise"] = Value::from(1);
    let error = fits(MEASUREMENT, &value).expect_err("nobody described it");
    assert!(error.contains("`surprise` is not described"), "{error}");
}
