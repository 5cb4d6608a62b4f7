//! What a prompt tells the sandbox to do, line by line, so that an agent can be led through a task without a model.
//!
//! A line `sandbox: call NAME {ARGUMENTS}` is a tool call, `sandbox: and NAME {ARGUMENTS}` one more in the same answer, and `sandbox: say TEXT`
//! an answer in words. They are read from the last message of the user that has any; each message of the assistant after it has done one of them.

use serde_json::{Map, Value};

use crate::request::{Chat, Message};

const MARK: &str = "sandbox: ";

/// One answer.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) enum Step {
    Call(Vec<Told>),
    Say(String),
    /// A line that begins as a step does and is none.
    Unclear(String),
}

/// A tool that is to be called.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Told {
    pub name: String,
    pub arguments: Map<String, Value>,
}

/// What is to be done next; `None` if nothing is left or nothing was told.
pub(crate) fn next(messages: &[Message]) -> Option<Step> {
    let steps_of = |message: &Message| if message.role == "user" { steps(&message.text()) } else { vec![] };
    let (at, steps) = messages.iter().map(steps_of).enumerate().rfind(|(_, steps)| !steps.is_empty())?;
    let done = messages.iter().skip(at).filter(|message| message.role == "assistant").count();
    steps.into_iter().nth(done)
}

fn steps(text: &str) -> Vec<Step> {
    let mut steps = Vec::new();
    for line in text.lines().filter_map(|line| line.trim().strip_prefix(MARK)) {
        let (verb, rest) = line.split_once(' ').unwrap_or((line, ""));
        match (verb, told(rest), steps.last_mut()) {
            ("say", ..) => steps.push(Step::Say(rest.to_owned())),
            ("call", Some(call), _) => steps.push(Step::Call(vec![call])),
            ("and", Some(call), Some(Step::Call(calls))) => calls.push(call),
            _ => steps.push(Step::Unclear(line.to_owned())),
        }
    }
    steps
}

fn told(call: &str) -> Option<Told> {
    let (name, arguments) = call.split_once(' ').unwrap_or((call, "{}"));
    serde_json::from_str(arguments).ok().map(|arguments| Told { name: name.to_owned(), arguments })
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
        let user = json!({"role": "user", "content": parts});
        let (assistant, tool) = (json!({"role": "assistant"}), json!({"role": "tool", "content": "b"}));
        let one = |name: &str, arguments: Value| Told { name: name.to_owned(), arguments: arguments.as_object().unwrap().clone() };
        let call = |name: &str, arguments: Value| Some(Step::Call(vec![one(name, arguments)]));
        let says = |text: &str| json!({"role": "user", "content": text});
        let unclear = |line: &str| (json!([says(&format!("sandbox: {line}"))]), Some(Step::Unclear(line.to_owned())));
        let rows = [
            (json!([user]), call("Read", json!({"path": "a"}))),
            (json!([user, assistant, tool]), call("Look", json!({}))),
            (json!([user, assistant, tool, assistant, tool]), Some(Step::Say("All done.".to_owned()))),
            (json!([user, assistant, tool, assistant, tool, assistant, says("Thanks.")]), None),
            (json!([user, assistant, says("sandbox: say Again.")]), Some(Step::Say("Again.".to_owned()))),
            (json!([{"role": "system", "content": told}, says("Go.")]), None),
            (
                json!([says("sandbox: call Read\nsandbox: and Look {\"at\": 1}")]),
                Some(Step::Call(vec![one("Read", json!({})), one("Look", json!({"at": 1}))])),
            ),
            unclear("call Read {path}"),
            unclear("and Read {}"),
            unclear("sing"),
            (json!([]), None),
        ];
        for (messages, expected) in rows {
            let read: Vec<Message> = serde_json::from_value(messages.clone()).unwrap();
            assert_eq!(next(&read), expected, "{messages}");
        }
    }
}
