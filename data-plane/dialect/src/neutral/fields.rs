//! An object of a request whose members are taken one by one, each with the type that it must have.

use bytes::Bytes;

use super::extension::Extension;
use super::text::{Raw, Text};
use crate::fault::{Fault, FaultKind};
use crate::json::{Members, Node, Tree};

/// The members of an object that were not taken yet. A member that is `null` says nothing: it is not taken and stays for the
/// [`Extension`], so that the origin's writer gives it back.
#[derive(Debug)]
pub(crate) struct Fields<'a> {
    source: &'a Bytes,
    members: Members<'a>,
}

impl<'a> Fields<'a> {
    /// # Errors
    /// The value is no object; the path is empty, for the caller to say where.
    pub(crate) fn of(source: &'a Bytes, tree: Tree<'a>) -> Result<Self, Fault> {
        match tree.node {
            Node::Object(members) => Ok(Self { source, members }),
            _ => Err(wrong_type("", "an object", &tree)),
        }
    }

    pub(crate) fn take(&mut self, name: &str) -> Option<Tree<'a>> {
        self.members.take(name)
    }

    /// Lets a member go, be it `null`.
    pub(crate) fn cut(&mut self, name: &str) {
        self.members.take_even_null(name);
    }

    /// How a member is spelt that stays.
    pub(crate) fn peek(&self, name: &str) -> Option<Raw> {
        self.members.get(name).filter(|tree| !tree.is_null()).map(|tree| Raw::of(self.source, tree))
    }

    pub(crate) fn text(&mut self, name: &'static str) -> Result<Option<Text>, Fault> {
        let source = self.source;
        self.take(name).map(|tree| text_of(source, name, &tree)).transpose()
    }

    pub(crate) fn required_text(&mut self, name: &'static str) -> Result<Text, Fault> {
        self.text(name)?.ok_or_else(|| missing(name))
    }

    /// A name, which must say something.
    pub(crate) fn required_name(&mut self, name: &'static str) -> Result<Text, Fault> {
        let text = self.required_text(name)?;
        if text.is_empty() { Err(invalid(name, "must not be empty")) } else { Ok(text) }
    }

    pub(crate) fn bool(&mut self, name: &'static str) -> Result<Option<bool>, Fault> {
        match self.take(name) {
            None => Ok(None),
            Some(Tree { node: Node::Bool(value), .. }) => Ok(Some(value)),
            Some(tree) => Err(wrong_type(name, "a boolean", &tree)),
        }
    }

    /// A number as it was spelt, between `least` and `most`.
    pub(crate) fn number(&mut self, name: &'static str, least: f64, most: f64) -> Result<Option<Raw>, Fault> {
        let Some(tree) = self.take(name) else { return Ok(None) };
        let Node::Number(spelt) = tree.node else { return Err(wrong_type(name, "a number", &tree)) };
        match spelt.parse::<f64>() {
            Ok(value) if value >= least && value <= most => Ok(Some(Raw::of(self.source, &tree))),
            _ => Err(invalid(name, format!("must lie between {least} and {most}"))),
        }
    }

    /// A whole number that is at least `least`.
    pub(crate) fn whole(&mut self, name: &'static str, least: u64) -> Result<Option<u64>, Fault> {
        let Some(tree) = self.take(name) else { return Ok(None) };
        let Node::Number(spelt) = tree.node else { return Err(wrong_type(name, "a whole number", &tree)) };
        let whole = crate::json::Decimal::parse(spelt).ok().and_then(|decimal| decimal.to_whole().ok());
        match whole.and_then(|whole| u64::try_from(whole).ok()).filter(|whole| *whole >= least) {
            Some(whole) => Ok(Some(whole)),
            None => Err(invalid(name, format!("must be a whole number of at least {least}"))),
        }
    }

    pub(crate) fn array(&mut self, name: &'static str) -> Result<Option<Vec<Tree<'a>>>, Fault> {
        match self.take(name) {
            None => Ok(None),
            Some(Tree { node: Node::Array(elements), .. }) => Ok(Some(elements)),
            Some(tree) => Err(wrong_type(name, "an array", &tree)),
        }
    }

    /// An object that is not looked into.
    pub(crate) fn object(&mut self, name: &'static str) -> Result<Option<Raw>, Fault> {
        match self.take(name) {
            None => Ok(None),
            Some(tree) if tree.kind() == "an object" => Ok(Some(Raw::of(self.source, &tree))),
            Some(tree) => Err(wrong_type(name, "an object", &tree)),
        }
    }

    /// An object and how it was spelt.
    pub(crate) fn inner(&mut self, name: &'static str) -> Result<Option<(Self, Raw)>, Fault> {
        let Some(tree) = self.take(name) else { return Ok(None) };
        let raw = Raw::of(self.source, &tree);
        Self::of(self.source, tree).map(|fields| Some((fields, raw))).map_err(|fault| fault.inside(name))
    }

    pub(crate) fn rest(self) -> Extension {
        Extension::rest(self.source, &self.members)
    }

    /// What is left of the member `outer`, which is written with its dot.
    pub(crate) fn rest_inside(self, outer: &'static str, extension: &mut Extension) {
        extension.keep_inner(self.source, outer, &self.members);
    }
}

pub(crate) fn text_of(source: &Bytes, name: &str, tree: &Tree<'_>) -> Result<Text, Fault> {
    match &tree.node {
        Node::String(text) => Ok(Text::of(source, text)),
        _ => Err(wrong_type(name, "a string", tree)),
    }
}

pub(crate) fn missing(name: &str) -> Fault {
    Fault::new(FaultKind::Missing, name, "this field is required")
}

pub(crate) fn invalid(name: &str, message: impl Into<String>) -> Fault {
    Fault::new(FaultKind::InvalidValue, name, message)
}

pub(crate) fn wrong_type(name: &str, wanted: &str, found: &Tree<'_>) -> Fault {
    Fault::new(FaultKind::WrongType, name, format!("must be {wanted}, is {}", found.kind()))
}
