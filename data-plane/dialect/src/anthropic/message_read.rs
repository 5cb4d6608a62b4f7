//! A whole answer of the Messages API into the neutral form.

use bytes::Bytes;

use super::block_read::{OPAQUE, read_block};
use super::finish::read_finish;
use crate::answer::BrokenAnswer;
use crate::json::{ScanLimits, Tree};
use crate::neutral::{Block, Fields, Message, Place};
use crate::sse::as_text;

/// Reads a whole answer. What is no UTF-8 becomes U+FFFD. Its usage is the meter's business.
///
/// # Errors
/// The body is no JSON object, or a block is not what its type says.
pub fn read_message(body: &Bytes) -> Result<Message, BrokenAnswer> {
    let body = &as_text(body);
    let tree = Tree::read(body, ScanLimits::ANSWER, OPAQUE).map_err(|error| BrokenAnswer { at: error.at })?;
    let broken = |_| BrokenAnswer { at: 0 };
    let mut fields = Fields::of(body, tree).map_err(broken)?;
    let id = fields.text("id").map_err(broken)?;
    let model = fields.text("model").map_err(broken)?;
    let blocks = fields.array("content").map_err(broken)?.unwrap_or_default();
    let blocks = blocks.into_iter().map(|tree| block(body, tree)).collect::<Result<Vec<_>, _>>()?;
    let finish = fields.text("stop_reason").map_err(broken)?.as_ref().map(read_finish);
    let stop_sequence = fields.text("stop_sequence").map_err(broken)?;
    for told_elsewhere in ["type", "role", "usage"] {
        fields.take(told_elsewhere);
    }
    Ok(Message { id, model, blocks, finish, stop_sequence, extension: fields.rest() })
}

fn block(body: &Bytes, tree: Tree<'_>) -> Result<Block, BrokenAnswer> {
    let at = (tree.raw.as_ptr() as usize).saturating_sub(body.as_ptr() as usize);
    read_block(body, tree, Place::Answer).map_err(|_| BrokenAnswer { at })
}
