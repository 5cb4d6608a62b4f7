use super::string::{self, Text};

/// Where a value or a member lies in the scanned text, as byte offsets.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(crate) struct Span {
    pub start: u32,
    pub end: u32,
}

impl Span {
    pub(crate) fn new(start: usize, end: usize) -> Self {
        Self { start: offset(start), end: offset(end) }
    }

    pub(crate) fn of<'a>(&self, bytes: &'a [u8]) -> &'a [u8] {
        bytes.get(self.start as usize..self.end as usize).unwrap_or_default()
    }
}

/// Texts beyond 4 GiB are refused long before a scan; a span that would not fit points past the end.
fn offset(at: usize) -> u32 {
    u32::try_from(at).unwrap_or(u32::MAX)
}

/// What a value is, known from its first byte.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Kind {
    Null,
    Bool,
    Number,
    String,
    Array,
    Object,
}

/// How deep and how wide a text may be.
#[derive(Clone, Copy, Debug)]
pub(crate) struct ScanLimits {
    /// Nested objects and arrays, at most [`ScanLimits::MAX_DEPTH`].
    pub depth: u32,
    /// Members of all objects together.
    pub keys: u32,
}

impl ScanLimits {
    /// One bit per level is kept in one word.
    pub(crate) const MAX_DEPTH: u32 = 64;
    /// For answers of providers: as deep as the scan can follow, as wide as a frame may be.
    pub(crate) const ANSWER: Self = Self { depth: Self::MAX_DEPTH, keys: 1_000_000 };
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum ErrorKind {
    /// The text does not follow the grammar; the word says what was expected.
    Expected(&'static str),
    TooDeep,
    TooManyKeys,
}

/// Why a scan stopped, and at which byte.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Error {
    pub at: usize,
    pub kind: ErrorKind,
}

pub(crate) type Result<T> = std::result::Result<T, Error>;

/// The state of an object or array that was entered and not yet left.
#[derive(Debug)]
pub(crate) struct Inside {
    first: bool,
}

/// A cursor over one JSON text. Every value that is reached must be consumed, by reading or by [`Scan::skip`].
pub(crate) struct Scan<'a> {
    bytes: &'a [u8],
    at: usize,
    depth: u32,
    keys_left: u32,
    max_depth: u32,
}

impl<'a> Scan<'a> {
    pub(crate) fn new(bytes: &'a [u8], limits: ScanLimits) -> Self {
        Self { bytes, at: 0, depth: 0, keys_left: limits.keys, max_depth: limits.depth.min(ScanLimits::MAX_DEPTH) }
    }

    /// The offset of the next byte that was not consumed.
    pub(crate) fn at(&self) -> usize {
        self.at
    }

    /// The kind of the next value, which stays unread.
    pub(crate) fn peek(&mut self) -> Result<Kind> {
        match self.token() {
            Some(b'{') => Ok(Kind::Object),
            Some(b'[') => Ok(Kind::Array),
            Some(b'"') => Ok(Kind::String),
            Some(b't' | b'f') => Ok(Kind::Bool),
            Some(b'n') => Ok(Kind::Null),
            Some(b'-' | b'0'..=b'9') => Ok(Kind::Number),
            _ => Err(self.expected("a value")),
        }
    }

    /// Enters an object. Follow with [`Scan::key`] until it answers `None`.
    pub(crate) fn object(&mut self) -> Result<Inside> {
        self.take(b'{', "an object")?;
        self.enter()?;
        Ok(Inside { first: true })
    }

    /// The next key of the object, its colon consumed; `None` when the object was left.
    pub(crate) fn key(&mut self, inside: &mut Inside) -> Result<Option<Text<'a>>> {
        match self.token() {
            Some(b'}') => {
                self.at += 1;
                self.depth -= 1;
                return Ok(None);
            }
            _ if inside.first => inside.first = false,
            Some(b',') => self.at += 1,
            _ => return Err(self.expected("`,` or `}`")),
        }
        self.member_key().map(Some)
    }

    /// Enters an array. Follow with [`Scan::element`] until it answers `false`.
    pub(crate) fn array(&mut self) -> Result<Inside> {
        self.take(b'[', "an array")?;
        self.enter()?;
        Ok(Inside { first: true })
    }

    /// Whether a further element follows, which is then the next value; the array was left otherwise.
    pub(crate) fn element(&mut self, inside: &mut Inside) -> Result<bool> {
        match self.token() {
            Some(b']') if inside.first => {}
            Some(b']') => {}
            _ if inside.first => {
                inside.first = false;
                return Ok(true);
            }
            Some(b',') => {
                self.at += 1;
                return Ok(true);
            }
            _ => return Err(self.expected("`,` or `]`")),
        }
        self.at += 1;
        self.depth -= 1;
        Ok(false)
    }

    /// Reads a string.
    pub(crate) fn string(&mut self) -> Result<Text<'a>> {
        match self.token() {
            Some(b'"') => self.quoted(),
            _ => Err(self.expected("a string")),
        }
    }

    /// Reads `true` or `false`.
    pub(crate) fn bool(&mut self) -> Result<bool> {
        match self.token() {
            Some(b't') => self.literal(b"true").map(|()| true),
            Some(b'f') => self.literal(b"false").map(|()| false),
            _ => Err(self.expected("a boolean")),
        }
    }

    /// Reads a number as its text, which follows the grammar.
    pub(crate) fn number(&mut self) -> Result<&'a str> {
        match self.token() {
            Some(b'-' | b'0'..=b'9') => {}
            _ => return Err(self.expected("a number")),
        }
        let start = self.at;
        self.digits()?;
        let text = self.bytes.get(start..self.at).unwrap_or_default();
        Ok(std::str::from_utf8(text).unwrap_or_default())
    }

    /// Consumes one whole value of any kind and says where it lies.
    pub(crate) fn skip(&mut self) -> Result<Span> {
        self.blank();
        let start = self.at;
        match self.bytes.get(start) {
            Some(b'"') => {
                self.quoted()?;
            }
            Some(b'{' | b'[') => self.skip_container()?,
            _ => self.scalar()?,
        }
        Ok(Span::new(start, self.at))
    }

    /// Checks that nothing but blanks follows.
    pub(crate) fn end(&mut self) -> Result<()> {
        match self.token() {
            None => Ok(()),
            Some(_) => Err(self.expected("the end of the text")),
        }
    }

    /// Levels below the present one live in one word, one bit each, so that no input can grow a stack.
    fn skip_container(&mut self) -> Result<()> {
        let mut objects: u64 = 0;
        let outer = self.depth;
        loop {
            match self.token() {
                Some(open @ (b'{' | b'[')) => {
                    self.at += 1;
                    self.enter()?;
                    let is_object = open == b'{';
                    objects = objects << 1 | u64::from(is_object);
                    let close = if is_object { b'}' } else { b']' };
                    if self.token() == Some(close) {
                        // Left below, as after a last value.
                    } else {
                        if is_object {
                            self.member_key()?;
                        }
                        continue;
                    }
                }
                Some(b'"') => {
                    self.quoted()?;
                }
                _ => self.scalar()?,
            }
            loop {
                if self.depth == outer {
                    return Ok(());
                }
                let is_object = objects & 1 == 1;
                match self.token() {
                    Some(b',') => {
                        self.at += 1;
                        if is_object {
                            self.member_key()?;
                        }
                        break;
                    }
                    Some(b'}') if is_object => {}
                    Some(b']') if !is_object => {}
                    _ => return Err(self.expected(if is_object { "`,` or `}`" } else { "`,` or `]`" })),
                }
                self.at += 1;
                self.depth -= 1;
                objects >>= 1;
            }
        }
    }

    fn member_key(&mut self) -> Result<Text<'a>> {
        if self.token() != Some(b'"') {
            return Err(self.expected("a key"));
        }
        self.keys_left = match self.keys_left.checked_sub(1) {
            Some(left) => left,
            None => return Err(Error { at: self.at, kind: ErrorKind::TooManyKeys }),
        };
        let key = self.quoted()?;
        self.take(b':', "`:`")?;
        Ok(key)
    }

    fn enter(&mut self) -> Result<()> {
        if self.depth >= self.max_depth {
            return Err(Error { at: self.at.saturating_sub(1), kind: ErrorKind::TooDeep });
        }
        self.depth += 1;
        Ok(())
    }

    fn quoted(&mut self) -> Result<Text<'a>> {
        let text = string::read(self.bytes, self.at)?;
        self.at = text.end() + 1;
        Ok(text)
    }

    fn scalar(&mut self) -> Result<()> {
        match self.token() {
            Some(b'-' | b'0'..=b'9') => self.digits(),
            Some(b't') => self.literal(b"true"),
            Some(b'f') => self.literal(b"false"),
            Some(b'n') => self.literal(b"null"),
            _ => Err(self.expected("a value")),
        }
    }

    fn literal(&mut self, word: &'static [u8]) -> Result<()> {
        match self.bytes.get(self.at..self.at + word.len()) {
            Some(found) if found == word => {
                self.at += word.len();
                Ok(())
            }
            _ => Err(self.expected("`true`, `false` or `null`")),
        }
    }

    /// number = [-] int [frac] [exp], without leading zeros.
    fn digits(&mut self) -> Result<()> {
        if self.bytes.get(self.at) == Some(&b'-') {
            self.at += 1;
        }
        if self.bytes.get(self.at) == Some(&b'0') {
            self.at += 1;
        } else {
            self.run_of_digits()?;
        }
        if self.bytes.get(self.at) == Some(&b'.') {
            self.at += 1;
            self.run_of_digits()?;
        }
        if let Some(b'e' | b'E') = self.bytes.get(self.at) {
            self.at += 1;
            if let Some(b'+' | b'-') = self.bytes.get(self.at) {
                self.at += 1;
            }
            self.run_of_digits()?;
        }
        Ok(())
    }

    fn run_of_digits(&mut self) -> Result<()> {
        let start = self.at;
        while let Some(b'0'..=b'9') = self.bytes.get(self.at) {
            self.at += 1;
        }
        if self.at == start { Err(self.expected("a digit")) } else { Ok(()) }
    }

    fn take(&mut self, byte: u8, what: &'static str) -> Result<()> {
        if self.token() == Some(byte) {
            self.at += 1;
            Ok(())
        } else {
            Err(self.expected(what))
        }
    }

    #[inline]
    fn token(&mut self) -> Option<u8> {
        self.blank();
        self.bytes.get(self.at).copied()
    }

    #[inline]
    fn blank(&mut self) {
        while let Some(b' ' | b'\n' | b'\r' | b'\t') = self.bytes.get(self.at) {
            self.at += 1;
        }
    }

    fn expected(&self, what: &'static str) -> Error {
        Error { at: self.at, kind: ErrorKind::Expected(what) }
    }
}
