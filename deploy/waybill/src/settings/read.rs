//! From a file, variables and flags to the settings of a role, or every fault that can be found at once.

use std::fs;

use serde_json::{Map, Value};
use waybill_model::document::{Spans, positions};

use super::{
    Role,
    fault::{Fault, Origin, Refused},
    given::{Given, Text},
    leaf::{Form, Leaf, properties},
};

/// Reads the settings: flag above variable above file above default.
pub fn read<R: Role>(given: &Given<R>) -> Result<R, Refused> {
    let mut sources = Sources { role: R::NAME, file: None, tree: Value::Object(Map::new()), texts: &given.texts };
    if let Some(path) = &given.file {
        let name = path.display().to_string();
        let text = fs::read_to_string(path).map_err(|error| sources.refuse("", &format!("{name} (--config) cannot be read: {error}")))?;
        sources.take_file(name, &text)?;
    }
    let mut faults = Vec::new();
    sources.find_unknown(R::schema(), &sources.tree, "", &mut faults);
    for given in sources.texts {
        let Some(leaf) = R::leaves().iter().find(|leaf| leaf.path == given.path) else { continue };
        match value(leaf, &given.text) {
            Ok(value) => put(&mut sources.tree, &leaf.path, value),
            Err(message) => faults.push(sources.fault(&leaf.path, message)),
        }
    }
    let missing = R::leaves().iter().filter(|leaf| leaf.required && find(&sources.tree, &leaf.path).is_none_or(Value::is_null));
    faults.extend(missing.map(|leaf| sources.fault(&leaf.path, absent(leaf, given.file.is_some()))));
    if !faults.is_empty() {
        return Err(Refused { role: R::NAME, faults });
    }
    let settings: R = serde_path_to_error::deserialize(&sources.tree).map_err(|error| {
        let path = error.path().to_string();
        sources.refuse(if path == "." { "" } else { &path }, &error.inner().to_string())
    })?;
    let faults: Vec<Fault> = settings.contradictions().into_iter().map(|(path, message)| sources.fault(&path, message)).collect();
    if faults.is_empty() { Ok(settings) } else { Err(Refused { role: R::NAME, faults }) }
}

struct Sources<'a> {
    role: &'static str,
    /// The file's name and where its fields are.
    file: Option<(String, Spans)>,
    /// What has been given so far.
    tree: Value,
    texts: &'a [Text],
}

impl Sources<'_> {
    fn take_file(&mut self, name: String, text: &str) -> Result<(), Refused> {
        let at = |line: u32, column: u32, message: String| {
            let fault = Fault { origin: Origin::File(name.clone(), line, column), path: String::new(), message };
            Refused { role: self.role, faults: vec![fault] }
        };
        let spans = positions(&name, text).map_err(|fault| at(fault.line, fault.column, fault.message))?;
        let tree: Value = serde_saphyr::from_str(text).map_err(|error| {
            let place = error.location().map_or((1, 1), |place| (place.line(), place.column()));
            let narrow = |number: u64| u32::try_from(number).unwrap_or(u32::MAX);
            at(narrow(place.0), narrow(place.1), error.without_snippet().to_string())
        })?;
        match tree {
            Value::Object(_) => self.tree = tree,
            // A file of comments only.
            Value::Null => {}
            _ => return Err(at(1, 1, "the file holds no mapping of settings, as `name: value` is one".to_owned())),
        }
        self.file = Some((name, spans));
        Ok(())
    }

    /// Where a setting, or the nearest around it, was given.
    fn origin(&self, path: &str) -> Origin {
        let within = |text: &&Text| path == text.path || path.strip_prefix(&text.path).is_some_and(|rest| rest.starts_with(['[', '.']));
        if let Some(text) = self.texts.iter().find(within) {
            return text.origin.clone();
        }
        match &self.file {
            Some((name, spans)) if find(&self.tree, head(path)).is_some() => {
                let (line, column) = spans.find(path);
                Origin::File(name.clone(), line, column)
            }
            _ => Origin::Nowhere,
        }
    }

    fn fault(&self, path: &str, message: String) -> Fault {
        Fault { origin: self.origin(path), path: path.to_owned(), message }
    }

    fn refuse(&self, path: &str, message: &str) -> Refused {
        Refused { role: self.role, faults: vec![self.fault(path, message.to_owned())] }
    }

    /// Members of the file that are no settings.
    fn find_unknown(&self, schema: &Value, tree: &Value, above: &str, faults: &mut Vec<Fault>) {
        let (Some(known), Value::Object(members)) = (properties(schema), tree) else { return };
        for (name, member) in members {
            let path = if above.is_empty() { name.clone() } else { format!("{above}.{name}") };
            match known.get(name) {
                Some(property) => self.find_unknown(property, member, &path, faults),
                None => faults.push(self.fault(&path, format!("there is no such setting{}", meant(name, known.keys())))),
            }
        }
    }
}

/// The first part of a path.
fn head(path: &str) -> &str {
    path.split(['.', '[']).next().unwrap_or(path)
}

/// The nearest name, if one is near.
fn meant<'a>(name: &str, known: impl Iterator<Item = &'a String>) -> String {
    let near = known.map(|known| (strsim::osa_distance(name, known), known)).min().filter(|(distance, _)| *distance <= 3);
    near.map_or_else(String::new, |(_, known)| format!("; did you mean `{known}`?"))
}

fn absent(leaf: &Leaf, has_file: bool) -> String {
    let place = if has_file { format!("in the file, as --{}", leaf.flag) } else { format!("as --{}, in a file (--config)", leaf.flag) };
    format!("is missing: give it {place} or as {}. {}", leaf.variable, leaf.help)
}

/// A setting's text as the value that the file would hold.
fn value(leaf: &Leaf, text: &str) -> Result<Value, String> {
    let parts = || text.split(',').map(str::trim).filter(|part| !part.is_empty());
    match leaf.form {
        Form::Text => Ok(Value::String(text.to_owned())),
        Form::Number => text.parse::<u64>().map(Value::from).map_err(|_| format!("`{text}` is no whole number")),
        Form::Switch => match text {
            "true" | "1" => Ok(Value::Bool(true)),
            "false" | "0" => Ok(Value::Bool(false)),
            _ => Err(format!("`{text}` is neither true nor false")),
        },
        Form::List => Ok(parts().map(|part| Value::String(part.to_owned())).collect()),
        Form::Map => {
            let member = |part: &str| {
                let (name, value) = part.split_once('=').ok_or_else(|| format!("`{part}` is not NAME=VALUE"))?;
                Ok::<_, String>((name.to_owned(), Value::String(value.to_owned())))
            };
            parts().map(member).collect::<Result<Map<_, _>, _>>().map(Value::Object)
        }
    }
}

fn find<'a>(tree: &'a Value, path: &str) -> Option<&'a Value> {
    path.split('.').try_fold(tree, |tree, name| tree.get(name))
}

/// Puts a value in its place; what stands in the way is no mapping and gives way.
fn put(tree: &mut Value, path: &str, value: Value) {
    let mut place = tree;
    for name in path.split('.') {
        if !place.is_object() {
            *place = Value::Object(Map::new());
        }
        let Value::Object(members) = place else { return };
        place = members.entry(name.to_owned()).or_insert(Value::Null);
    }
    *place = value;
}
