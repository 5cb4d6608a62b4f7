//! An incremental reader of server-sent events (WHATWG HTML, section 9.2), pure.

/// One event.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Event {
    /// The `event:` field; empty when there was none.
    pub name: String,
    /// The `data:` lines, joined by line feeds.
    pub data: String,
}

/// Collects bytes and gives whole events.
#[derive(Debug, Default)]
pub struct Reader {
    buffer: Vec<u8>,
    open: Event,
    has_data: bool,
    /// Comment lines so far; keep-alives are such.
    pub comments: u64,
}

impl Reader {
    /// Adds bytes as they came.
    pub fn feed(&mut self, bytes: &[u8]) {
        self.buffer.extend_from_slice(bytes);
    }

    /// The next event that is complete.
    pub fn next_event(&mut self) -> Option<Event> {
        while let Some(end) = memchr::memchr(b'\n', &self.buffer) {
            let line: Vec<u8> = self.buffer.drain(..=end).collect();
            let line = String::from_utf8_lossy(&line);
            if let Some(event) = self.line(line.trim_end_matches(['\r', '\n'])) {
                return Some(event);
            }
        }
        None
    }

    /// True when bytes of an event are held that has not ended.
    pub fn is_open(&self) -> bool {
        self.has_data || !self.buffer.is_empty()
    }

    fn line(&mut self, line: &str) -> Option<Event> {
        if line.is_empty() {
            let event = std::mem::take(&mut self.open);
            return std::mem::take(&mut self.has_data).then_some(event);
        }
        let (field, value) = line.split_once(':').unwrap_or((line, ""));
        let value = value.strip_prefix(' ').unwrap_or(value);
        match field {
            "" => self.comments += 1,
            "event" => value.clone_into(&mut self.open.name),
            "data" => {
                if self.has_data {
                    self.open.data.push('\n');
                }
                self.open.data.push_str(value);
                self.has_data = true;
            }
            _ => {}
        }
        None
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn events_are_the_same_wherever_the_bytes_are_cut() {
        let text = ": hello\ndata: one\n\nevent: end\r\ndata: two\r\ndata:three\r\nid: 4\r\n\r\n\n\ndata: [DONE]\n\n";
        let event = |name: &str, data: &str| Event { name: name.into(), data: data.into() };
        let expected = [event("", "one"), event("end", "two\nthree"), event("", "[DONE]")];
        for piece in 1..=text.len() {
            let mut reader = Reader::default();
            let mut events = Vec::new();
            for bytes in text.as_bytes().chunks(piece) {
                reader.feed(bytes);
                events.extend(std::iter::from_fn(|| reader.next_event()));
            }
            assert_eq!(events, expected, "in pieces of {piece}");
            assert_eq!((reader.comments, reader.is_open()), (1, false));
        }
    }
}
