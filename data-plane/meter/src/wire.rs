//! Protocol buffers written from parts that lie elsewhere. An attempt and its event are written once each for every request; building the generated
//! messages first would copy a dozen names that the snapshot holds already. The numbers are those of `waybill/usage/v1`; tests read
//! everything back with the generated code.

use prost::encoding::WireType;
use waybill_model::price::{Bill, Line};

/// Writes fields one after another. As everywhere in proto3, what is empty or 0 is left out.
#[derive(Debug)]
pub(crate) struct Writer<'a>(pub(crate) &'a mut Vec<u8>);

impl Writer<'_> {
    pub(crate) fn number(&mut self, field: u32, value: u64) {
        if value != 0 {
            self.key(field, WireType::Varint);
            self.varint(value);
        }
    }

    /// Numbers below 0 are written as 64 bits in two's complement.
    pub(crate) fn signed(&mut self, field: u32, value: i64) {
        self.number(field, value.cast_unsigned());
    }

    pub(crate) fn text(&mut self, field: u32, text: &str) {
        self.bytes(field, text.as_bytes());
    }

    pub(crate) fn bytes(&mut self, field: u32, bytes: &[u8]) {
        if !bytes.is_empty() {
            self.element(field, bytes);
        }
    }

    /// An element of a repeated field, which is written even when it is empty.
    pub(crate) fn element(&mut self, field: u32, bytes: &[u8]) {
        self.key(field, WireType::LengthDelimited);
        self.varint(bytes.len() as u64);
        self.0.extend_from_slice(bytes);
    }

    /// A message: its length stands before it and is known after it. Most are shorter than 128 bytes, so one byte is left for it.
    pub(crate) fn message(&mut self, field: u32, write: impl FnOnce(&mut Self)) {
        self.key(field, WireType::LengthDelimited);
        let place = self.0.len();
        self.0.push(0);
        let start = self.0.len();
        write(self);
        let length = self.0.len() - start;
        match (self.0.get_mut(place), u8::try_from(length)) {
            (Some(byte), Ok(short @ 0..=127)) => *byte = short,
            _ => {
                let mut long = Vec::with_capacity(10);
                Writer(&mut long).varint(length as u64);
                self.0.splice(place..start, long);
            }
        }
    }

    fn key(&mut self, field: u32, kind: WireType) {
        self.varint(u64::from(field << 3 | kind as u32));
    }

    /// Seven bits a byte, the lowest first. Nearly all are one byte: keys, lengths, small counts.
    #[inline]
    fn varint(&mut self, mut value: u64) {
        while value >= 0x80 {
            self.0.push(value as u8 | 0x80);
            value >>= 7;
        }
        self.0.push(value as u8);
    }

    /// The lines of a bill.
    pub(crate) fn lines(&mut self, field: u32, bill: &Bill) {
        for Line { meter, tier, above_input_tokens, quantity, rate_picousd, amount } in &bill.lines {
            self.message(field, |line| {
                line.text(1, meter.name());
                line.text(2, tier);
                line.number(3, *above_input_tokens);
                line.number(4, *quantity);
                line.signed(5, *rate_picousd);
                line.signed(6, amount.0);
            });
        }
    }
}

/// A text cut to so many bytes at a character's boundary.
pub(crate) fn cut(text: &str, bytes: usize) -> &str {
    let end = (0..=bytes.min(text.len())).rev().find(|end| text.is_char_boundary(*end)).unwrap_or(0);
    text.get(..end).unwrap_or_default()
}
