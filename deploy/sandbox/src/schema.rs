//! Makes a value that satisfies a JSON schema, in the simple cases tools and structured output use.
//!
//! Read: `type` (also a list), `const`, `enum`, `default`, `properties`, `required`, `items`, `prefixItems`, `minItems`, `minimum`,
//! `exclusiveMinimum`, `maximum`, `multipleOf`, `minLength`, `maxLength`, `format`, `anyOf`, `oneOf`, `allOf`, and `$ref` within the schema.
//! Not read: `pattern`, `not`, conditions. Strings say "sandbox" where they may say anything.

use serde_json::{Map, Number, Value, json};

/// Depth from which only what is required is made, so that schemas that refer to themselves end.
const SPARSE_DEPTH: usize = 6;
/// Depth at which `null` is all that is made.
const MAX_DEPTH: usize = 24;
/// The most items or characters that are made because a schema asks for a minimum.
const MAX_LENGTH: u64 = 1_000;

/// A value for `schema`; the same one each time.
pub(crate) fn instance(schema: &Value) -> Value {
    make(schema, schema, 0)
}

fn make(root: &Value, schema: &Value, depth: usize) -> Value {
    if depth > MAX_DEPTH {
        return Value::Null;
    }
    if let Some(value) = fixed(schema) {
        return value.clone();
    }
    if let Some(target) = schema.get("$ref").and_then(Value::as_str) {
        let target = target.strip_prefix('#').and_then(|pointer| root.pointer(pointer));
        return target.map_or(Value::Null, |target| make(root, target, depth + 1));
    }
    if let Some(branch) = branch(schema, depth) {
        return make(root, branch, depth + 1);
    }
    if let Some(all) = schema.get("allOf").and_then(Value::as_array) {
        return merged(root, schema, all, depth);
    }
    match kind(schema, depth) {
        "object" => object(root, schema, depth),
        "array" => array(root, schema, depth),
        "string" => string(schema).into(),
        "integer" => integer(schema).into(),
        "number" => number(schema),
        "boolean" => true.into(),
        _ => Value::Null,
    }
}

fn fixed(schema: &Value) -> Option<&Value> {
    let choice = || schema.get("enum").and_then(Value::as_array).and_then(|values| values.first());
    schema.get("const").or_else(choice).or_else(|| schema.get("default"))
}

/// The branch of a choice that is made: the first, or deep down the one that ends soonest.
fn branch(schema: &Value, depth: usize) -> Option<&Value> {
    let branches = schema.get("anyOf").or_else(|| schema.get("oneOf"))?.as_array()?;
    let null = branches.iter().find(|branch| branch.get("type").is_some_and(|kind| kind == "null"));
    null.filter(|_| depth >= SPARSE_DEPTH).or(branches.first())
}

fn kind(schema: &Value, depth: usize) -> &str {
    match schema.get("type") {
        Some(Value::String(kind)) => kind,
        Some(Value::Array(kinds)) => {
            let null = kinds.iter().find(|kind| *kind == "null");
            null.filter(|_| depth >= SPARSE_DEPTH).or(kinds.first()).and_then(Value::as_str).unwrap_or("null")
        }
        _ if schema.get("properties").is_some() => "object",
        _ if schema.get("items").is_some() => "array",
        // A schema that allows anything.
        _ if schema.is_object() || *schema == true => "string",
        _ => "null",
    }
}

fn object(root: &Value, schema: &Value, depth: usize) -> Value {
    let required: Vec<&str> = schema.get("required").and_then(Value::as_array).into_iter().flatten().filter_map(Value::as_str).collect();
    let properties = schema.get("properties").and_then(Value::as_object);
    let mut object = Map::new();
    for (name, property) in properties.into_iter().flatten() {
        if depth < SPARSE_DEPTH || required.contains(&name.as_str()) {
            object.insert(name.clone(), make(root, property, depth + 1));
        }
    }
    for name in required {
        object.entry(name).or_insert_with(|| "sandbox".into());
    }
    Value::Object(object)
}

fn array(root: &Value, schema: &Value, depth: usize) -> Value {
    let mut items: Vec<Value> =
        schema.get("prefixItems").and_then(Value::as_array).into_iter().flatten().map(|item| make(root, item, depth + 1)).collect();
    let least = schema.get("minItems").and_then(Value::as_u64).unwrap_or(u64::from(depth < SPARSE_DEPTH)).min(MAX_LENGTH) as usize;
    let anything = json!({});
    let item = schema.get("items").filter(|item| item.is_object()).unwrap_or(&anything);
    let most = schema.get("maxItems").and_then(Value::as_u64).unwrap_or(MAX_LENGTH) as usize;
    while items.len() < least.min(most) {
        items.push(make(root, item, depth + 1));
    }
    Value::Array(items)
}

fn string(schema: &Value) -> String {
    let text = match schema.get("format").and_then(Value::as_str) {
        Some("date") => "2026-01-31",
        Some("time") => "12:00:00Z",
        Some("date-time") => "2026-01-31T12:00:00Z",
        Some("duration") => "PT1S",
        Some("email") => "sandbox@example.com",
        Some("hostname") => "example.com",
        Some("ipv4") => "192.0.2.1",
        Some("ipv6") => "2001:db8::1",
        Some("uri" | "url") => "https://example.com/sandbox",
        Some("uuid") => "00000000-0000-4000-8000-000000000000",
        _ => "sandbox",
    };
    let length = |key| schema.get(key).and_then(Value::as_u64);
    let least = length("minLength").unwrap_or(0).min(MAX_LENGTH) as usize;
    let most = length("maxLength").map_or(usize::MAX, |most| most as usize);
    let padding = std::iter::repeat_n('x', least.saturating_sub(text.chars().count()));
    text.chars().chain(padding).take(most).collect()
}

fn integer(schema: &Value) -> i64 {
    let bound = |key| schema.get(key).and_then(Value::as_f64);
    let least = match (bound("minimum"), bound("exclusiveMinimum")) {
        (_, Some(above)) => Some(above.floor() as i64 + 1),
        (least, None) => least.map(|least| least.ceil() as i64),
    };
    let most = match (bound("maximum"), bound("exclusiveMaximum")) {
        (_, Some(below)) => Some(below.ceil() as i64 - 1),
        (most, None) => most.map(|most| most.floor() as i64),
    };
    let step = schema.get("multipleOf").and_then(Value::as_i64).filter(|step| *step > 0).unwrap_or(1);
    let value = least.unwrap_or(1).min(most.unwrap_or(i64::MAX));
    let up = next_multiple(value, step);
    up.filter(|up| most.is_none_or(|most| *up <= most)).unwrap_or(value)
}

/// The least multiple of `step` from `value` on.
fn next_multiple(value: i64, step: i64) -> Option<i64> {
    match value.rem_euclid(step) {
        0 => Some(value),
        over => value.checked_add(step - over),
    }
}

fn number(schema: &Value) -> Value {
    let bound = |key| schema.get(key).and_then(Value::as_f64);
    let (least, most) = (bound("minimum").or(bound("exclusiveMinimum")), bound("maximum").or(bound("exclusiveMaximum")));
    let value = match (least, most) {
        (Some(least), Some(most)) => f64::midpoint(least, most),
        (Some(least), None) => least + 1.0,
        (None, Some(most)) => most - 1.0,
        (None, None) => 1.5,
    };
    Number::from_f64(value).map_or(Value::Null, Value::Number)
}

/// All parts of an `allOf` as one object schema.
fn merged(root: &Value, schema: &Value, all: &[Value], depth: usize) -> Value {
    let own = schema.as_object().cloned().unwrap_or_default();
    let rest: Map<String, Value> = own.into_iter().filter(|(key, _)| key != "allOf").collect();
    let mut object = Map::new();
    let mut last = Value::Null;
    for part in all.iter().chain(std::iter::once(&Value::Object(rest))) {
        if part.as_object().is_some_and(Map::is_empty) {
            continue;
        }
        match make(root, part, depth + 1) {
            Value::Object(part) => object.extend(part),
            other => last = other,
        }
    }
    if object.is_empty() { last } else { Value::Object(object) }
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::instance;

    #[test]
    fn a_value_is_made_to_the_schema() {
        let rows = [
            (json!({}), json!("sandbox")),
            (json!({"type": "object"}), json!({})),
            (json!({"const": 7}), json!(7)),
            (json!({"enum": ["red", "blue"]}), json!("red")),
            (json!({"type": ["integer", "null"], "minimum": 3}), json!(3)),
            (json!({"type": "integer", "minimum": 3, "multipleOf": 5}), json!(5)),
            (json!({"type": "integer", "maximum": -4}), json!(-4)),
            (json!({"type": "integer", "exclusiveMinimum": 9}), json!(10)),
            (json!({"type": "number", "minimum": 0, "maximum": 1}), json!(0.5)),
            (json!({"type": "boolean"}), json!(true)),
            (json!({"type": "null"}), json!(null)),
            (json!({"type": "string", "format": "date"}), json!("2026-01-31")),
            (json!({"type": "string", "minLength": 9}), json!("sandboxxx")),
            (json!({"type": "string", "maxLength": 4}), json!("sand")),
            (json!({"type": "array", "items": {"type": "boolean"}, "minItems": 2}), json!([true, true])),
            (json!({"type": "array", "maxItems": 0}), json!([])),
            (
                json!({"type": "object", "properties": {"city": {"type": "string"}, "days": {"type": "integer"}}, "required": ["city", "unit"]}),
                json!({"city": "sandbox", "days": 1, "unit": "sandbox"}),
            ),
            (json!({"anyOf": [{"type": "integer"}, {"type": "null"}]}), json!(1)),
            (json!({"allOf": [{"properties": {"a": {"const": 1}}}, {"properties": {"b": {"const": 2}}}]}), json!({"a": 1, "b": 2})),
            (json!({"$ref": "#/$defs/x", "$defs": {"x": {"const": "found"}}}), json!("found")),
            (json!({"$ref": "#/$defs/nowhere"}), json!(null)),
        ];
        for (schema, expected) in rows {
            assert_eq!(instance(&schema), expected, "{schema}");
        }
    }

    #[test]
    fn a_schema_that_refers_to_itself_ends() {
        let tree = json!({"$ref": "#/$defs/node", "$defs": {"node": {"type": "object", "required": ["next"], "properties": {
            "value": {"type": "integer"}, "next": {"anyOf": [{"$ref": "#/$defs/node"}, {"type": "null"}]}}}}});
        let text = instance(&tree).to_string();
        assert!(text.starts_with(r#"{"next":{"next":"#) && text.len() < 500, "{text}");
        // One that cannot be satisfied ends too.
        let endless = json!({"type": "object", "required": ["self"], "properties": {"self": {"$ref": "#"}}});
        assert!(instance(&endless).to_string().len() < 1_000);
    }
}
