//! The single settings of a role, read off its schema: what flags, variables and the table in the documentation are made of.

use serde_json::{Map, Value};

/// What a setting is spelt as.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub enum Form {
    Text,
    Number,
    Switch,
    /// In a flag or a variable: divided by commas.
    List,
    /// In a flag or a variable: NAME=VALUE, divided by commas.
    Map,
}

/// One setting.
#[derive(Clone, Debug)]
pub struct Leaf {
    /// As in the file: `kafka.brokers`.
    pub path: String,
    /// `kafka-brokers`.
    pub flag: String,
    /// `WAYBILL_KAFKA_BROKERS`.
    pub variable: String,
    pub form: Form,
    /// What it means.
    pub help: String,
    /// As it would be written; none where there is none.
    pub default: Option<String>,
    pub required: bool,
}

/// The schema of settings, without references: one tree.
pub fn schema<T: schemars::JsonSchema>() -> Value {
    let generator = schemars::generate::SchemaSettings::draft2020_12().with(|settings| settings.inline_subschemas = true).into_generator();
    generator.into_root_schema_for::<T>().to_value()
}

/// All settings of a schema, in its order.
pub fn leaves(schema: &Value) -> Vec<Leaf> {
    let mut found = Vec::new();
    collect(schema, "", &mut found);
    found
}

fn collect(schema: &Value, above: &str, found: &mut Vec<Leaf>) {
    let required = schema.get("required").and_then(Value::as_array).cloned().unwrap_or_default();
    for (name, property) in properties(schema).into_iter().flatten() {
        let path = if above.is_empty() { name.clone() } else { format!("{above}.{name}") };
        if properties(property).is_some() {
            collect(property, &path, found);
            continue;
        }
        found.push(Leaf {
            flag: divided(&path, '-'),
            variable: format!("WAYBILL_{}", divided(&path, '_').to_uppercase()),
            form: form(property),
            help: property.get("description").and_then(Value::as_str).unwrap_or_default().replace('\n', " "),
            default: property.get("default").and_then(written),
            required: required.iter().any(|required| required == name),
            path,
        });
    }
}

/// The members of an object whose names are fixed.
pub fn properties(schema: &Value) -> Option<&Map<String, Value>> {
    schema.get("properties").and_then(Value::as_object)
}

fn form(property: &Value) -> Form {
    let is = |kind: &str| match property.get("type") {
        Some(Value::String(only)) => only == kind,
        Some(Value::Array(several)) => several.iter().any(|one| one == kind),
        _ => false,
    };
    match () {
        () if is("array") => Form::List,
        () if is("object") => Form::Map,
        () if is("boolean") => Form::Switch,
        () if is("integer") => Form::Number,
        () => Form::Text,
    }
}

/// A default as an operator would write it; nothing for one that says nothing.
fn written(value: &Value) -> Option<String> {
    match value {
        Value::String(text) => Some(text.clone()),
        Value::Bool(_) | Value::Number(_) => Some(value.to_string()),
        _ => None,
    }
}

/// `kafka.maxInFlight` as `kafka-max-in-flight`.
fn divided(path: &str, mark: char) -> String {
    let mut text = String::with_capacity(path.len() + 4);
    for letter in path.chars() {
        match letter {
            '.' => text.push(mark),
            _ if letter.is_ascii_uppercase() => {
                text.push(mark);
                text.push(letter.to_ascii_lowercase());
            }
            _ => text.push(letter),
        }
    }
    text
}
