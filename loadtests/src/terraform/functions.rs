//! The functions of Terraform's language that the root module's validations and findings call.

use hcl::Value;
use hcl::eval::{Context, FuncArgs, FuncDef, ParamType};

/// A context with every function declared and no variable.
///
/// `can` sees its argument only after it was evaluated, so what would be an error inside it (`regex` without
/// a match, `cidrhost` of no network) is null here.
pub(super) fn context() -> Context<'static> {
    let mut context = Context::new();
    let any = || FuncDef::builder().variadic_param(ParamType::Any);
    context.declare_func("contains", any().build(contains));
    context.declare_func("lookup", any().build(lookup));
    context.declare_func("coalesce", any().build(coalesce));
    context.declare_func("min", any().build(|args| extreme(args, f64::min)));
    context.declare_func("max", any().build(|args| extreme(args, f64::max)));
    context.declare_func("floor", any().build(|args| rounded(args, f64::floor)));
    context.declare_func("ceil", any().build(|args| rounded(args, f64::ceil)));
    context.declare_func("range", any().build(range));
    context.declare_func("length", any().build(length));
    context.declare_func("distinct", any().build(distinct));
    context.declare_func("alltrue", any().build(alltrue));
    context.declare_func(
        "startswith",
        any().build(|args| affix(args, |text, part| text.starts_with(part))),
    );
    context.declare_func(
        "endswith",
        any().build(|args| affix(args, |text, part| text.ends_with(part))),
    );
    context.declare_func("tonumber", any().build(tonumber));
    context.declare_func(
        "can",
        any().build(|args| one(args).map(|value| Value::Bool(!value.is_null()))),
    );
    context.declare_func("regex", any().build(regex));
    context.declare_func("cidrhost", any().build(cidrhost));
    context
}

fn taken<const N: usize>(args: FuncArgs) -> Result<[Value; N], String> {
    args.into_values()
        .try_into()
        .map_err(|given: Vec<Value>| format!("takes {N} arguments, not {}", given.len()))
}

fn one(args: FuncArgs) -> Result<Value, String> {
    taken::<1>(args).map(|[value]| value)
}

fn array(value: Value) -> Result<Vec<Value>, String> {
    match value {
        Value::Array(items) => Ok(items),
        other => Err(format!("takes a list, not {other}")),
    }
}

fn number(value: &Value) -> Result<f64, String> {
    value
        .as_f64()
        .ok_or_else(|| format!("takes a number, not {value}"))
}

fn contains(args: FuncArgs) -> Result<Value, String> {
    let [list, value] = taken(args)?;
    Ok(Value::Bool(array(list)?.contains(&value)))
}

fn lookup(args: FuncArgs) -> Result<Value, String> {
    let [map, key, default] = taken(args)?;
    let key = match key {
        Value::String(key) => key,
        other => other.to_string(),
    };
    let found = map.as_object().and_then(|map| map.get(&key)).cloned();
    Ok(found.unwrap_or(default))
}

fn coalesce(args: FuncArgs) -> Result<Value, String> {
    args.into_values()
        .into_iter()
        .find(|value| !value.is_null() && value.as_str() != Some(""))
        .ok_or_else(|| "needs one argument that is not null".to_owned())
}

fn extreme(args: FuncArgs, better: fn(f64, f64) -> f64) -> Result<Value, String> {
    let numbers = args
        .into_values()
        .iter()
        .map(number)
        .collect::<Result<Vec<_>, _>>()?;
    numbers
        .into_iter()
        .reduce(better)
        .map(from_f64)
        .ok_or_else(|| "needs an argument".to_owned())
}

/// Whole numbers stay whole: HCL has one kind of number, and prints 79, not 79.0.
fn from_f64(number: f64) -> Value {
    hcl::Number::from_f64(number).map_or(Value::Null, Value::Number)
}

fn rounded(args: FuncArgs, round: fn(f64) -> f64) -> Result<Value, String> {
    Ok(from_f64(round(number(&one(args)?)?)))
}

fn range(args: FuncArgs) -> Result<Value, String> {
    let [start, end, step] = taken(args)?;
    let (mut next, end, step) = (number(&start)?, number(&end)?, number(&step)?);
    if step <= 0.0 {
        return Err("needs a step above 0".to_owned());
    }
    let mut items = Vec::new();
    while next < end {
        items.push(from_f64(next));
        next += step;
    }
    Ok(Value::Array(items))
}

fn length(args: FuncArgs) -> Result<Value, String> {
    let length = match one(args)? {
        Value::Array(items) => items.len(),
        Value::Object(map) => map.len(),
        Value::String(text) => text.chars().count(),
        other => return Err(format!("takes a list, a map or a string, not {other}")),
    };
    Ok(Value::from(length))
}

fn distinct(args: FuncArgs) -> Result<Value, String> {
    let mut kept: Vec<Value> = Vec::new();
    for item in array(one(args)?)? {
        if !kept.contains(&item) {
            kept.push(item);
        }
    }
    Ok(Value::Array(kept))
}

fn alltrue(args: FuncArgs) -> Result<Value, String> {
    let items = array(one(args)?)?;
    Ok(Value::Bool(
        items.iter().all(|item| *item == Value::Bool(true)),
    ))
}

fn affix(args: FuncArgs, has: fn(&str, &str) -> bool) -> Result<Value, String> {
    let [text, part] = taken(args)?;
    match (text.as_str(), part.as_str()) {
        (Some(text), Some(part)) => Ok(Value::Bool(has(text, part))),
        _ => Ok(Value::Bool(false)),
    }
}

fn tonumber(args: FuncArgs) -> Result<Value, String> {
    match one(args)? {
        Value::String(text) => text
            .parse()
            .ok()
            .map(from_f64)
            .ok_or_else(|| format!("cannot make a number of \"{text}\"")),
        other => Ok(other),
    }
}

fn regex(args: FuncArgs) -> Result<Value, String> {
    let [pattern, text] = taken(args)?;
    let (Some(pattern), Some(text)) = (pattern.as_str(), text.as_str()) else {
        return Ok(Value::Null);
    };
    let pattern = regex::Regex::new(pattern).map_err(|error| error.to_string())?;
    Ok(pattern
        .find(text)
        .map_or(Value::Null, |found| Value::from(found.as_str())))
}

/// The first address of an IPv4 network; the module asks for no other.
fn cidrhost(args: FuncArgs) -> Result<Value, String> {
    let [network, _] = taken(args)?;
    let first = network.as_str().and_then(|network| {
        let (address, bits) = network.split_once('/')?;
        let address: std::net::Ipv4Addr = address.parse().ok()?;
        let bits = bits.parse::<u32>().ok().filter(|bits| *bits <= 32)?;
        let mask = u32::MAX.checked_shl(32 - bits).unwrap_or(0);
        Some(std::net::Ipv4Addr::from(u32::from(address) & mask).to_string())
    });
    Ok(first.map_or(Value::Null, Value::from))
}
