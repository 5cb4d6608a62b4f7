//! The cost splice: our price goes into the usage object, printed from the integer.

use bytes::Bytes;

use crate::body::{Body, Edit, edit};
use crate::json::print_picousd;
use crate::usage::UsageObject;

/// A text with its cost, and what stood there before.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Spliced {
    pub body: Body,
    /// The provider's own `cost` as it stood in the text.
    pub replaced: Option<Bytes>,
}

/// Puts `"cost": <USD>` into the usage object of `text` and carries out the `further` edits.
pub(crate) fn splice(text: &Bytes, usage: &UsageObject, cost_picousd: i64, mut further: Vec<Edit>) -> Spliced {
    let (change, replaced) = cost_edit(text, usage, cost_picousd);
    further.push(change);
    Spliced { body: edit(text, further), replaced }
}

fn cost_edit(text: &Bytes, usage: &UsageObject, cost_picousd: i64) -> (Edit, Option<Bytes>) {
    let cost = print_picousd(cost_picousd);
    if let Some(old) = usage.cost {
        let (start, end) = (old.start as usize, old.end as usize);
        let replaced = (end <= text.len()).then(|| text.slice(start..end));
        return (Edit { start, end, with: cost.into() }, replaced);
    }
    let at = (usage.span.end as usize).saturating_sub(1);
    let comma = if usage.is_empty { "" } else { "," };
    (Edit { start: at, end: at, with: [comma, "\"cost\":", &cost].concat().into() }, None)
}
