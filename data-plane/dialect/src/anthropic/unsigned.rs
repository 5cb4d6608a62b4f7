//! Thoughts without a signature: a gateway shows the thoughts of other providers as such blocks, and Anthropic refuses them.

use crate::neutral::{Block, Content, Notice, Prompt, Reasoning, Role, Turn};

/// Whether Anthropic would not believe that the thoughts are its own.
pub(super) fn is_unsigned(block: &Block) -> bool {
    match &block.content {
        Content::Reasoning(Reasoning::Text { signature, .. }) => signature.as_ref().is_none_or(|signature| signature.is_empty()),
        Content::Reasoning(Reasoning::Summary { .. }) => true,
        _ => false,
    }
}

/// A prompt of this dialect without them; `None` if it has none.
pub(super) fn without(prompt: &Prompt, notices: &mut Vec<Notice>) -> Option<Prompt> {
    if !prompt.turns.iter().any(|turn| turn.blocks.iter().any(is_unsigned)) {
        return None;
    }
    let mut prompt = prompt.clone();
    for turn in &mut prompt.turns {
        let before = turn.blocks.len();
        turn.blocks.retain(|block| {
            let unsigned = is_unsigned(block);
            if unsigned {
                notices.push(Notice::dropped(block.place.to_string(), "thoughts without a signature are refused there"));
            }
            !unsigned
        });
        if turn.blocks.is_empty() && before > 0 {
            turn.extension = turn.extension.clone().spelt("gone");
        }
    }
    prompt.turns.retain(|turn| turn.extension.spelling() != "gone");
    let budget = prompt.reasoning.as_ref().is_some_and(|wish| wish.budget.is_some());
    if budget && let Some(obstacle) = unfinished_thought(&prompt.turns) {
        notices.push(Notice::dropped("thinking", obstacle));
        prompt.extension.forget("thinking");
        prompt.reasoning = prompt.reasoning.take().and_then(|wish| wish.effort.map(|_| wish)).map(|mut wish| {
            (wish.enabled, wish.budget) = (None, None);
            wish
        });
    }
    Some(prompt)
}

/// With a budget for thinking, a turn that is still calling tools must have begun with its thoughts.
pub(super) fn unfinished_thought(turns: &[Turn]) -> Option<&'static str> {
    let after = turns.iter().rev().take_while(|turn| turn.role != Role::Assistant);
    let is_result = |block: &Block| matches!(block.content, Content::ToolResult { .. });
    if !after.flat_map(|turn| &turn.blocks).any(is_result) {
        return None;
    }
    let assistant = turns.iter().rev().find(|turn| turn.role == Role::Assistant)?;
    let thinks = matches!(assistant.blocks.first(), Some(Block { content: Content::Reasoning(_), .. }));
    (!thinks).then_some("the turn that called the tools has no thoughts that Anthropic would take back")
}
