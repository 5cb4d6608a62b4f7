//! A text as a tree of slices, for translation: one scan, and nothing is unescaped or copied.

use super::scan::{Error, Kind, Scan, ScanLimits};
use super::string::Text;

/// A value of the text it was read from.
#[derive(Clone, Debug)]
pub(crate) struct Tree<'a> {
    /// The value as it stands in the text.
    pub raw: &'a [u8],
    pub node: Node<'a>,
}

/// What the value is made of, as far as it was looked into.
#[derive(Clone, Debug)]
pub(crate) enum Node<'a> {
    Null,
    Bool(bool),
    Number(&'a str),
    String(Text<'a>),
    Array(Vec<Tree<'a>>),
    Object(Members<'a>),
    /// An object or array that passes as it is.
    Opaque(Kind),
}

/// The members of an object, to be taken one after another; what is left is somebody else's.
#[derive(Clone, Debug, Default)]
pub(crate) struct Members<'a>(Vec<(Text<'a>, Tree<'a>)>);

impl<'a> Tree<'a> {
    /// Reads a whole text. The values of members with an `opaque` name are not looked into.
    pub(crate) fn read(text: &'a [u8], limits: ScanLimits, opaque: &[&str]) -> Result<Self, Error> {
        let mut scan = Scan::new(text, limits);
        let tree = Self::value(text, &mut scan, opaque, false)?;
        scan.end()?;
        Ok(tree)
    }

    /// Depth is bounded by the scan's limit, so that no input can exhaust the stack.
    fn value(text: &'a [u8], scan: &mut Scan<'a>, opaque: &[&str], is_opaque: bool) -> Result<Self, Error> {
        let kind = scan.peek()?;
        let start = scan.at();
        let node = match kind {
            Kind::Array | Kind::Object if is_opaque => {
                scan.skip()?;
                Node::Opaque(kind)
            }
            Kind::Null => {
                scan.skip()?;
                Node::Null
            }
            Kind::Bool => Node::Bool(scan.bool()?),
            Kind::Number => Node::Number(scan.number()?),
            Kind::String => Node::String(scan.string()?),
            Kind::Array => {
                let mut elements = Vec::new();
                let mut inside = scan.array()?;
                while scan.element(&mut inside)? {
                    elements.push(Self::value(text, scan, opaque, false)?);
                }
                Node::Array(elements)
            }
            Kind::Object => {
                let mut members = Vec::with_capacity(4);
                let mut inside = scan.object()?;
                while let Some(key) = scan.key(&mut inside)? {
                    let is_opaque = opaque.iter().any(|name| key.is(name));
                    members.push((key, Self::value(text, scan, opaque, is_opaque)?));
                }
                Node::Object(Members(members))
            }
        };
        Ok(Self { raw: text.get(start..scan.at()).unwrap_or_default(), node })
    }

    pub(crate) fn is_null(&self) -> bool {
        matches!(self.node, Node::Null)
    }

    /// What the value is, for messages.
    pub(crate) fn kind(&self) -> &'static str {
        match self.node {
            Node::Null => "null",
            Node::Bool(_) => "a boolean",
            Node::Number(_) => "a number",
            Node::String(_) => "a string",
            Node::Array(_) | Node::Opaque(Kind::Array) => "an array",
            Node::Object(_) | Node::Opaque(_) => "an object",
        }
    }
}

impl<'a> Members<'a> {
    /// Takes a member out. `null` counts as not there and stays. Of equal names the last one stands, as for most readers.
    pub(crate) fn take(&mut self, name: &str) -> Option<Tree<'a>> {
        if self.get(name)?.is_null() { None } else { self.take_even_null(name) }
    }

    /// Takes a member out, be it `null`.
    pub(crate) fn take_even_null(&mut self, name: &str) -> Option<Tree<'a>> {
        let at = self.0.iter().rposition(|(key, _)| key.is(name))?;
        let (_, tree) = self.0.remove(at);
        if self.get(name).is_some() {
            // All at once: thousands of equal names must not cost a move of the rest each.
            self.0.retain(|(key, _)| !key.is(name));
        }
        Some(tree)
    }

    pub(crate) fn get(&self, name: &str) -> Option<&Tree<'a>> {
        self.0.iter().rev().find(|(key, _)| key.is(name)).map(|(_, tree)| tree)
    }

    pub(crate) fn iter(&self) -> impl Iterator<Item = (&Text<'a>, &Tree<'a>)> {
        self.0.iter().map(|(key, tree)| (key, tree))
    }

    pub(crate) fn is_empty(&self) -> bool {
        self.0.is_empty()
    }
}
