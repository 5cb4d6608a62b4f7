//! Members of a request that is translated, as what they must be: a wrong type is a fault with its path.

use bytes::Bytes;

use crate::fault::{Fault, FaultKind};
use crate::json::{Members, Node, Tree};
use crate::neutral::{Raw, Text};
use crate::read::invalid;

/// Reads a string.
pub(super) fn text(source: &Bytes, tree: &Tree<'_>) -> Result<Text, Fault> {
    match &tree.node {
        Node::String(text) => Ok(Text::of(source, text)),
        _ => Err(wrong_type(tree, "a string")),
    }
}

pub(super) fn object(tree: Tree<'_>) -> Result<Members<'_>, Fault> {
    match tree.node {
        Node::Object(members) => Ok(members),
        _ => Err(wrong_type(&tree, "an object")),
    }
}

pub(super) fn array(tree: Tree<'_>) -> Result<Vec<Tree<'_>>, Fault> {
    match tree.node {
        Node::Array(elements) => Ok(elements),
        _ => Err(wrong_type(&tree, "an array")),
    }
}

pub(super) fn wrong_type(tree: &Tree<'_>, expected: &str) -> Fault {
    Fault::new(FaultKind::WrongType, "", format!("must be {expected}, not {}", tree.kind()))
}

/// The members of one object by name and type. What is not there, or `null`, is `None`.
pub(super) trait Typed<'a> {
    fn take_text(&mut self, source: &Bytes, name: &str) -> Result<Option<Text>, Fault>;
    fn need_text(&mut self, source: &Bytes, name: &str) -> Result<Text, Fault>;
    fn take_bool(&mut self, name: &str) -> Result<Option<bool>, Fault>;
    fn take_whole(&mut self, name: &str) -> Result<Option<u64>, Fault>;
    /// A number within `range`, as it was spelt.
    fn take_number(&mut self, source: &Bytes, name: &str, range: std::ops::RangeInclusive<f64>) -> Result<Option<Raw>, Fault>;
    fn take_object(&mut self, name: &str) -> Result<Option<Members<'a>>, Fault>;
    /// An object that is not looked into.
    fn take_schema(&mut self, source: &Bytes, name: &str) -> Result<Option<Raw>, Fault>;
    /// The word under `name`, if it is a string.
    fn word(&self, name: &str) -> Option<String>;
}

impl<'a> Typed<'a> for Members<'a> {
    fn take_text(&mut self, source: &Bytes, name: &str) -> Result<Option<Text>, Fault> {
        self.take(name).map(|tree| text(source, &tree)).transpose().map_err(|fault| fault.inside(name))
    }

    fn need_text(&mut self, source: &Bytes, name: &str) -> Result<Text, Fault> {
        self.take_text(source, name)?.ok_or_else(|| missing(name))
    }

    fn take_bool(&mut self, name: &str) -> Result<Option<bool>, Fault> {
        let Some(tree) = self.take(name) else { return Ok(None) };
        match tree.node {
            Node::Bool(value) => Ok(Some(value)),
            _ => Err(wrong_type(&tree, "true or false").inside(name)),
        }
    }

    fn take_whole(&mut self, name: &str) -> Result<Option<u64>, Fault> {
        let Some(tree) = self.take(name) else { return Ok(None) };
        match tree.node {
            Node::Number(number) => number.parse().map(Some).map_err(|_| invalid(name, "must be an integer from 0 up")),
            _ => Err(wrong_type(&tree, "an integer").inside(name)),
        }
    }

    fn take_number(&mut self, source: &Bytes, name: &str, range: std::ops::RangeInclusive<f64>) -> Result<Option<Raw>, Fault> {
        let Some(tree) = self.take(name) else { return Ok(None) };
        let Node::Number(number) = tree.node else { return Err(wrong_type(&tree, "a number").inside(name)) };
        // A parameter of sampling, no money: a float is what it is.
        if number.parse::<f64>().is_ok_and(|number| range.contains(&number)) {
            return Ok(Some(Raw::of(source, &tree)));
        }
        Err(invalid(name, &format!("must lie between {} and {}", range.start(), range.end())))
    }

    fn take_object(&mut self, name: &str) -> Result<Option<Members<'a>>, Fault> {
        self.take(name).map(object).transpose().map_err(|fault| fault.inside(name))
    }

    fn take_schema(&mut self, source: &Bytes, name: &str) -> Result<Option<Raw>, Fault> {
        let Some(tree) = self.take(name) else { return Ok(None) };
        let raw = Raw::of(source, &tree);
        if raw.is_object() { Ok(Some(raw)) } else { Err(wrong_type(&tree, "an object").inside(name)) }
    }

    fn word(&self, name: &str) -> Option<String> {
        match &self.get(name)?.node {
            Node::String(text) => text.decode().map(std::borrow::Cow::into_owned),
            _ => None,
        }
    }
}

pub(super) fn missing(name: &str) -> Fault {
    Fault::new(FaultKind::Missing, name, "this field is required")
}
