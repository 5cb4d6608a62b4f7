//! API keys: where their text comes from, what is kept of it, and where it never is.

use waybill_admin::Error;
use waybill_model::key;
use waybill_proto::{
    admin::v1::{ApplyChangeSetRequest, ApplyChangeSetResponse, GetRequest},
    model::v1::{ApiKey, Resource, resource::Spec},
};
use waybill_store::{Read, Store, keys};

use crate::sample::{Sample, key as api_key, org, pepper, workspace};

async fn base() -> Sample {
    let sample = Sample::new().await;
    sample.upsert(&[org("acme", ""), workspace("w", "acme")]).await.expect("a base");
    sample
}

async fn apply(sample: &Sample, upserts: Vec<Resource>) -> Result<ApplyChangeSetResponse, Error> {
    sample.admin.apply(ApplyChangeSetRequest { upserts, idempotency_key: String::new(), ..ApplyChangeSetRequest::default() }, "ada").await
}

async fn record(sample: &Sample, name: &str) -> ApiKey {
    let request = GetRequest { kind: "ApiKey".to_owned(), name: name.to_owned() };
    match sample.admin.get(&request).await.expect("found").resource.expect("a resource").spec {
        Some(Spec::ApiKey(key)) => key,
        other => panic!("{other:?}"),
    }
}

fn set(sample: &Sample, name: &str, text: &str) {
    sample.host.secrets.lock().expect("secrets").insert(name.to_owned(), text.to_owned());
}

fn code(error: &Error) -> (&'static str, String) {
    let Error::Invalid(faults) = error else { panic!("{error}") };
    (faults[0].code, faults[0].path.clone())
}

#[tokio::test]
async fn a_generated_key_is_returned_once_and_is_in_no_record() {
    let sample = base().await;
    let request = ApplyChangeSetRequest {
        upserts: vec![api_key("k", "w", None)],
        idempotency_key: "call".to_owned(),
        ..ApplyChangeSetRequest::default()
    };
    let answer = sample.admin.apply(request, "ada").await.expect("applied");
    let [made] = &answer.generated_keys[..] else { panic!("one key") };
    assert!(made.name == "k" && made.key.starts_with("wb_live_") && key::is_well_formed(&made.key));
    let kept = record(&sample, "k").await;
    assert_eq!((&kept.hash[..], kept.pepper_id, kept.prefix.as_str()), (&pepper().hash(&made.key)[..], 1, key::prefix(&made.key)));
    let secret = &made.key.as_bytes()[12..];
    for range in [keys::config(), keys::logs(), keys::idempotency_all()] {
        let listing = sample.store.list(&Read::now(range)).await.expect("listed");
        assert!(!listing.entries.is_empty());
        for entry in listing.entries {
            assert!(!entry.value.windows(secret.len()).any(|window| window == secret), "{}", entry.key);
        }
    }
    // A later apply keeps the hash, also when something else changes or the writer forges the fields that are ours.
    let mut later = api_key("k", "w", None);
    let Some(Spec::ApiKey(spec)) = &mut later.spec else { panic!("a key") };
    (spec.disabled, spec.prefix, spec.hash) = (true, "wb_live_evil".to_owned(), vec![1; 16].into());
    let answer = apply(&sample, vec![later]).await.expect("applied");
    assert_eq!(answer.generated_keys, []);
    assert_eq!(answer.changes[0].fields.len(), 1);
    assert_eq!(answer.changes[0].fields[0].path, "spec.disabled");
    assert_eq!(record(&sample, "k").await, ApiKey { disabled: true, ..kept });
}

#[tokio::test]
async fn the_text_of_a_key_is_read_where_the_document_says() {
    let sample = base().await;
    let (first, second) = (key::generate(true, [1; 20]), key::generate(false, [2; 20]));
    let from = |name: &str| vec![api_key("k", "w", Some(name))];
    assert_eq!(code(&apply(&sample, from("UNSET")).await.expect_err("unset")), ("secret_missing", "spec.keyFrom".to_owned()));
    set(&sample, "KEY", "sk-not-ours");
    let error = apply(&sample, from("KEY")).await.expect_err("malformed");
    assert_eq!(code(&error), ("key_malformed", "spec.keyFrom".to_owned()));
    assert!(!error.to_string().contains("sk-not-ours"), "{error}");
    set(&sample, "KEY", &first);
    let answer = apply(&sample, from("KEY")).await.expect("applied");
    assert_eq!(answer.generated_keys, []);
    assert_eq!(record(&sample, "k").await.hash[..], pepper().hash(&first)[..]);
    // The same text again changes nothing; nor does a text that is not to be had any more, since its hash is known.
    assert_eq!(apply(&sample, from("KEY")).await.expect("unchanged").revision, 2);
    sample.host.secrets.lock().expect("secrets").clear();
    assert_eq!(apply(&sample, from("KEY")).await.expect("unchanged").revision, 2);
    // But another place must hold one, and another text is another key.
    assert_eq!(code(&apply(&sample, from("OTHER")).await.expect_err("unset")).0, "secret_missing");
    set(&sample, "KEY", &second);
    assert_eq!(apply(&sample, from("KEY")).await.expect("rotated").revision, 3);
    assert_eq!(record(&sample, "k").await.hash[..], pepper().hash(&second)[..]);
    assert_eq!(sample.log().await.len(), 3);
}

#[tokio::test]
async fn two_keys_may_not_have_one_text() {
    let sample = base().await;
    set(&sample, "KEY", &key::generate(true, [1; 20]));
    apply(&sample, vec![api_key("a", "w", Some("KEY"))]).await.expect("applied");
    let error = apply(&sample, vec![api_key("b", "w", Some("KEY"))]).await.expect_err("the same text");
    assert_eq!(code(&error), ("key_duplicate", "spec.keyFrom".to_owned()));
    set(&sample, "TWO", &key::generate(true, [2; 20]));
    let error = apply(&sample, vec![api_key("c", "w", Some("TWO")), api_key("d", "w", Some("TWO"))]).await.expect_err("the same text");
    assert_eq!(code(&error).0, "key_duplicate");
}
