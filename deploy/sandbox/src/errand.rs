//! What a prompt tells the sandbox to do, line by line, so that an agent can be led through a task without a model.
//!
//! A line `sandbox: call NAME {ARGUMENTS}` is a tool call, a line `sandbox: say TEXT` an answer. They are read from the last message of the user
//! that has any; each message of the assistant after it has done one of them.

use serde_json::{Map, Value};

use crate::request::{Chat, Message};

const MARK: &str = "sandbox: ";

/// One answer.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) enum Step {
    Call {
        name: String,
        arguments: Map<String, Value>,
    },
    Say(String),
    /// A line that begins as a step does and is none.
    Unclear(String),
}

/// What is to be done next; `None` if nothing is left or nothing was told.
pub(crate) fn next(messages: &[Message]) -> Option<Step> {
    let steps_of = |message: &Message| if message.role == "user" { steps(&message.text()) } else { vec![] };
    let (at, steps) = messages.iter().map(steps_of).enumerate().rfind(|(_, steps)| !steps.is_empty())?;
    let done = messages.iter().skip(at).filter(|message| message.role == "assistant").count();
    steps.into_iter().nth(done)
}

fn steps(text: &str) -> Vec<Step> {
    text.lines().filter_map(|line| line.trim().strip_prefix(MARK)).map(step).collect()
}

fn step(line: &str) -> Step {
    let unclear = || Step::Unclear(line.to_owned());
    match line.split_once(' ') {
        Some(("say", text)) => Step::Say(text.to_owned()),
        Some(("call", call)) => {
            let (name, arguments) = call.split_once(' ').unwrap_or((call, "{}"));
            serde_json::from_str(arguments).map_or_else(|_| unclear(), |arguments| Step::Call { name: name.to_owned(), arguments })
        }
        _ => unclear(),
    }
}

impl Chat {
    /// Whether the request offers a tool of this name.
    pub(crate) fn offers(&self, name: &str) -> bool {
        self.functions().any(|function| function.name == name)
    }
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    #[test]
    fn each_turn_of_the_assistant_does_one_step() {
        let told = "Do this.\nsandbox: call Read {\"path\": \"a\"}\n  sandbox: call Look\nsandbox: say All done.";
        let parts = json!([{"type": "text", "text": "Be brief.\n"}, {"type": "text", "text": told}]);
        let (user, assistant, tool) =
            (json!({"role": "user", "content": parts}), json!({"role": "assistant"}), json!({"role": "tool", "content": "b"}));
        let call =
            |name: &str, arguments: Value| Some(Step::Call { name: name.to_owned(), arguments: arguments.as_object().unwrap().clone() });
        let say = |text: &str| json!({"role": "user", "content": format!("sandbox: say {text}")});
        let rows = [
            (json!([user]), call("Read", json!({"path": "a"}))),
            (json!([user, assistant, tool]), call("Look", json!({}))),
            (json!([user, assistant, tool, assistant, tool]), Some(Step::Say("All done.".to_owned()))),
            (json!([user, assistant, tool, assistant, tool, assistant, {"role": "user", "content": "Thanks."}]), None),
            (json!([user, assistant, say("Again.")]), Some(Step::Say("Again.".to_owned()))),
            (json!([{"role": "system", "content": told}, {"role": "user", "content": "Go."}]), None),
            (json!([{"role": "user", "content": "sandbox: call Read {path}"}]), Some(Step::Unclear("call Read {path}".to_owned()))),
            (json!([]), None),
        ];
        for (messages, expected) in rows {
            let read: Vec<Message> = serde_json::from_value(messages.clone()).unwrap();
            assert_eq!(next(&read), expected, "{messages}");
        }
    }
}
