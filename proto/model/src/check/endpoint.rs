//! Rules of models, endpoints and route policies.

use waybill_proto::model::v1::{Endpoint, Model, RoutePolicy};

use super::{
    limits,
    nearest::{nearest, or_nothing},
    price::check_price,
    violation::{Code, Faults},
    vocabulary::{INPUT_MODALITIES, OUTPUT_MODALITIES, PARAMETERS, QUANTIZATIONS, REASONING_CONTROLS, SORTS},
};

pub(super) fn check_model(model: &Model, faults: &mut Faults<'_>) {
    check_words(&model.input_modalities, INPUT_MODALITIES, "spec.inputModalities", Code::ModalityUnknown, faults);
    check_words(&model.output_modalities, OUTPUT_MODALITIES, "spec.outputModalities", Code::ModalityUnknown, faults);
}

pub(super) fn check_endpoint(endpoint: &Endpoint, faults: &mut Faults<'_>) {
    if endpoint.provider_model.is_empty() {
        faults.add("spec.providerModel", Code::FieldMissing, "say the provider's own name of the model");
    }
    check_words(&endpoint.supported_parameters, PARAMETERS, "spec.supportedParameters", Code::ParameterUnknown, faults);
    let controls = &endpoint.reasoning_controls;
    check_words(controls, REASONING_CONTROLS, "spec.reasoningControls", Code::ReasoningControlUnknown, faults);
    check_word(&endpoint.quantization, QUANTIZATIONS, "spec.quantization", Code::QuantizationUnknown, faults);
}

pub(super) fn check_policy(policy: &RoutePolicy, faults: &mut Faults<'_>) {
    check_word(&policy.sort, SORTS, "spec.sort", Code::SortUnknown, faults);
    if policy.max_attempts > limits::ATTEMPTS {
        faults.add("spec.maxAttempts", Code::AttemptsTooMany, format!("{} attempts: at most {}", policy.max_attempts, limits::ATTEMPTS));
    }
    for (price, path) in [(&policy.max_prompt_price, "spec.maxPromptPrice"), (&policy.max_completion_price, "spec.maxCompletionPrice")] {
        if !price.is_empty() {
            check_price(price, 1, path, faults);
        }
    }
}

fn check_words(words: &[String], known: &[&str], path: &str, code: Code, faults: &mut Faults<'_>) {
    for (position, word) in words.iter().enumerate() {
        if !known.contains(&word.as_str()) {
            faults.add(format!("{path}[{position}]"), code, unknown(word, known));
        }
    }
}

/// Checks one word of a closed list; empty means the default.
fn check_word(word: &str, known: &[&str], path: &str, code: Code, faults: &mut Faults<'_>) {
    if !word.is_empty() && !known.contains(&word) {
        faults.add(path, code, unknown(word, known));
    }
}

fn unknown(word: &str, known: &[&str]) -> String {
    format!("`{word}` is unknown{}: use one of {}", or_nothing(nearest(word, known.iter().copied())), known.join(", "))
}
