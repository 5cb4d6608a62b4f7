//! JSON written in one go: commas are the writer's business, and what was JSON already is copied.

use super::string::write_quoted;

/// A text under construction. Members and elements follow one another; commas are put between them.
#[derive(Debug, Default)]
pub(crate) struct Writer {
    out: Vec<u8>,
    /// Something stands before in the present object or array.
    follows: bool,
}

impl Writer {
    pub(crate) fn with_capacity(bytes: usize) -> Self {
        Self { out: Vec::with_capacity(bytes), follows: false }
    }

    /// The data of a server-sent event of that name.
    pub(crate) fn framed(event: &str) -> Self {
        let mut out = Vec::with_capacity(256);
        out.extend_from_slice(b"event: ");
        out.extend_from_slice(event.as_bytes());
        out.extend_from_slice(b"\ndata: ");
        Self { out, follows: false }
    }

    /// The server-sent event that [`Writer::framed`] began.
    pub(crate) fn into_frame(mut self) -> bytes::Bytes {
        // A value that was copied may have line breaks between its tokens, which would end the line of data.
        let data = memchr::memchr(b'\n', &self.out).map_or(0, |header| header + 1);
        self.out.iter_mut().skip(data).filter(|byte| matches!(byte, b'\n' | b'\r')).for_each(|byte| *byte = b' ');
        self.out.extend_from_slice(b"\n\n");
        self.out.into()
    }

    /// Goes on after `out`, as if nothing stood there.
    pub(crate) fn after(out: Vec<u8>) -> Self {
        Self { out, follows: false }
    }

    pub(crate) fn into_vec(self) -> Vec<u8> {
        self.out
    }

    /// The text, whole if everything that was opened was closed.
    pub(crate) fn into_bytes(self) -> bytes::Bytes {
        self.out.into()
    }

    pub(crate) fn object(&mut self, members: impl FnOnce(&mut Self)) {
        self.inside(b'{', b'}', members);
    }

    pub(crate) fn array(&mut self, elements: impl FnOnce(&mut Self)) {
        self.inside(b'[', b']', elements);
    }

    /// The name of the member whose value comes next.
    pub(crate) fn key(&mut self, name: &str) -> &mut Self {
        self.comma();
        write_quoted(&mut self.out, name);
        self.out.push(b':');
        self.follows = false;
        self
    }

    /// A name that is spelt as it stands between quotes.
    pub(crate) fn escaped_key(&mut self, name: &[u8]) -> &mut Self {
        self.escaped(name);
        self.out.push(b':');
        self.follows = false;
        self
    }

    pub(crate) fn string(&mut self, text: &str) {
        self.comma();
        write_quoted(&mut self.out, text);
    }

    /// A string whose escapes are in it already.
    pub(crate) fn escaped(&mut self, text: &[u8]) {
        self.comma();
        self.out.push(b'"');
        self.out.extend_from_slice(text);
        self.out.push(b'"');
    }

    /// A string of several escaped pieces.
    pub(crate) fn escaped_pieces<'a>(&mut self, pieces: impl IntoIterator<Item = &'a [u8]>) {
        self.comma();
        self.out.push(b'"');
        pieces.into_iter().for_each(|piece| self.out.extend_from_slice(piece));
        self.out.push(b'"');
    }

    pub(crate) fn number(&mut self, number: u64) {
        self.raw(number.to_string().as_bytes());
    }

    pub(crate) fn bool(&mut self, value: bool) {
        self.raw(if value { b"true" } else { b"false" });
    }

    pub(crate) fn null(&mut self) {
        self.raw(b"null");
    }

    /// A value that is JSON already.
    pub(crate) fn raw(&mut self, value: &[u8]) {
        self.comma();
        self.out.extend_from_slice(value);
    }

    fn inside(&mut self, open: u8, close: u8, content: impl FnOnce(&mut Self)) {
        self.comma();
        self.out.push(open);
        self.follows = false;
        content(self);
        self.out.push(close);
        self.follows = true;
    }

    fn comma(&mut self) {
        if std::mem::replace(&mut self.follows, true) {
            self.out.push(b',');
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn commas_stand_between_values_and_nowhere_else() {
        let mut writer = Writer::default();
        writer.object(|json| {
            json.key("a").array(|json| {
                json.number(1);
                json.array(|_| {});
                json.object(|json| {
                    json.key("b").null();
                });
                json.escaped(br"\n");
            });
            json.key("c\"").bool(true);
            json.escaped_key(br"d\u0041").escaped_pieces([b"x".as_slice(), b"y"]);
            json.key("e").string("\u{1}");
        });
        let expected = br#"{"a":[1,[],{"b":null},"\n"],"c\"":true,"d\u0041":"xy","e":"\u0001"}"#;
        assert_eq!(writer.into_bytes(), expected.as_slice());
    }
}
