//! A text as a tree of slices, for translation: one scan, and nothing is unescaped or copied.

use super::scan::{Error, ErrorKind, Kind, Scan, ScanLimits};
use super::string::Text;

/// Most values of a text that is read as a tree, elements of arrays too: a tree takes some fifty times the bytes of `[0,0,0,…`.
const MOST_VALUES: u32 = 250_000;

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
        let mut reader = Reader { text, scan: Scan::new(text, limits), opaque, values_left: limits.keys.min(MOST_VALUES) };
        let tree = reader.value(false)?;
        reader.scan.end()?;
        Ok(tree)
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

struct Reader<'a, 'o> {
    text: &'a [u8],
    scan: Scan<'a>,
    opaque: &'o [&'o str],
    values_left: u32,
}

impl<'a> Reader<'a, '_> {
    /// Depth is bounded by the scan's limit, so that no input can exhaust the stack.
    fn value(&mut self, is_opaque: bool) -> Result<Tree<'a>, Error> {
        let kind = self.scan.peek()?;
        let start = self.scan.at();
        self.values_left = self.values_left.checked_sub(1).ok_or(Error { at: start, kind: ErrorKind::TooManyKeys })?;
        let node = match kind {
            Kind::Array | Kind::Object if is_opaque => {
                self.scan.skip()?;
                Node::Opaque(kind)
            }
            Kind::Null => {
                self.scan.skip()?;
                Node::Null
            }
            Kind::Bool => Node::Bool(self.scan.bool()?),
            Kind::Number => Node::Number(self.scan.number()?),
            Kind::String => Node::String(self.scan.string()?),
            Kind::Array => {
                let mut elements = Vec::new();
                let mut inside = self.scan.array()?;
                while self.scan.element(&mut inside)? {
                    elements.push(self.value(false)?);
                }
                Node::Array(elements)
            }
            Kind::Object => {
                let mut members = Vec::with_capacity(4);
                let mut inside = self.scan.object()?;
                while let Some(key) = self.scan.key(&mut inside)? {
                    let is_opaque = self.opaque.iter().any(|name| key.is(name));
                    members.push((key, self.value(is_opaque)?));
                }
                Node::Object(Members(members))
            }
        };
        Ok(Tree { raw: self.text.get(start..self.scan.at()).unwrap_or_default(), node })
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

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_tree_is_made_of_slices_and_its_size_is_bounded() {
        let text = br#"{"a":[1,{"b":"x\n"}],"opaque":{"c":[1]},"a2":null,"d":1,"d":2}"#;
        let tree = Tree::read(text, ScanLimits::ANSWER, &["opaque"]).expect("JSON");
        let Node::Object(mut members) = tree.node else { panic!("an object") };
        assert!(matches!(members.take("opaque").map(|tree| tree.node), Some(Node::Opaque(Kind::Object))));
        assert_eq!(members.take("a").map(|tree| tree.raw), Some(br#"[1,{"b":"x\n"}]"#.as_slice()));
        assert!(members.get("a2").is_some() && members.take("a2").is_none(), "null is not there");
        assert_eq!(members.take("d").map(|tree| tree.raw), Some(b"2".as_slice()), "the last of equal names");
        assert_eq!(members.iter().map(|(key, _)| key.raw()).collect::<Vec<_>>(), [b"a2"], "what was not taken stays");

        let many = |values: usize| format!("[{}]", vec!["0"; values].join(","));
        let limits = ScanLimits { depth: 64, keys: 10 };
        assert!(Tree::read(many(9).as_bytes(), limits, &[]).is_ok());
        assert_eq!(Tree::read(many(10).as_bytes(), limits, &[]).map(|_| ()).map_err(|error| error.kind), Err(ErrorKind::TooManyKeys));
    }
}
