//! Plans of more than one change set.

use std::time::Instant;

use waybill_admin::Error;
use waybill_model::resource::{Kind, metadata};
use waybill_proto::{
    admin::v1::{ApplyChangeSetRequest, change::Action},
    model::v1::Resource,
};

use crate::sample::{Sample, account, book, endpoint, key, model, org, provider, workspace};

/// A catalogue in an order that no single pass could apply: endpoints first.
fn catalogue(models: usize) -> Vec<Resource> {
    let mut all: Vec<Resource> = (0..models).map(|number| endpoint(&format!("p/m{number}"), &format!("a/m{number}"), "p", "p")).collect();
    all.extend((0..models).map(|number| model(&format!("a/m{number}"))));
    all.extend([book("p", "1"), account("p", "p"), provider("p"), key("k", "w", None), workspace("w", "acme"), org("acme", "")]);
    all
}

#[tokio::test]
async fn a_catalogue_is_applied_in_the_order_of_its_references_and_then_not_again() {
    let sample = Sample::new().await;
    let all = catalogue(350);
    let began = Instant::now();
    let answer = sample.admin.apply_all(all.clone(), &[], "up").await.expect("applied");
    println!("{} resources in {} change sets: {:?}", all.len(), answer.revision, began.elapsed());
    assert_eq!(answer.revision, all.len().div_ceil(50) as u64);
    assert_eq!(answer.changes.len(), all.len());
    assert!(answer.changes.iter().zip(&all).all(|(change, resource)| change.name == metadata(resource).name));
    assert_eq!(answer.generated_keys.len(), 1);
    let began = Instant::now();
    let again = sample.admin.apply_all(all.clone(), &[], "up").await.expect("unchanged");
    println!("unchanged: {:?}", began.elapsed());
    assert_eq!(again.revision, answer.revision);
    assert!(again.generated_keys.is_empty() && again.changes.iter().all(|change| change.action() == Action::Unchanged));
    // Away with it, in whatever order it is named.
    let names: Vec<(Kind, String)> =
        all.iter().filter_map(|resource| Some((Kind::of(resource)?, metadata(resource).name.clone()))).rev().collect();
    let deletes: Vec<(Kind, &str)> = names.iter().map(|(kind, name)| (*kind, name.as_str())).collect();
    let gone = sample.admin.apply_all(Vec::new(), &deletes, "up").await.expect("deleted");
    assert_eq!(gone.revision, 2 * answer.revision);
    let log = sample.log().await;
    assert_eq!(log.iter().map(|entry| entry.changes.len()).sum::<usize>(), 2 * all.len());
    assert!(log.iter().all(|entry| entry.operator == "up" && entry.changes.len() <= 50));
}

#[tokio::test]
async fn the_whole_plan_is_validated_before_any_of_it_is_applied() {
    let sample = Sample::new().await;
    let mut all = catalogue(60);
    all.push(workspace("v", "nobody"));
    let Err(Error::Invalid(faults)) = sample.admin.apply_all(all, &[], "up").await else { panic!("refused") };
    assert_eq!(faults.len(), 1);
    assert_eq!((faults[0].name.as_str(), faults[0].path.as_str()), ("v", "spec.org"));
    assert_eq!(sample.log().await.len(), 0);
}

#[tokio::test]
async fn a_plan_that_cannot_go_on_says_which_sets_stand_and_keeps_the_keys_they_made() {
    let sample = Sample::new().await;
    sample.admin.apply_all(catalogue(60), &[], "up").await.expect("applied");
    let before = sample.log().await.len();
    // The account moves to another provider, and its endpoints with it: valid as a whole, but not half of it.
    let mut moved: Vec<Resource> = (0..60).map(|number| model(&format!("b/m{number}"))).collect();
    moved.extend([key("k2", "w", None), provider("q"), account("p", "q")]);
    for number in 0..60 {
        let mut one = endpoint(&format!("p/m{number}"), &format!("a/m{number}"), "q", "p");
        let Some(waybill_proto::model::v1::resource::Spec::Endpoint(spec)) = &mut one.spec else { panic!("an endpoint") };
        spec.account = "p".to_owned();
        moved.push(one);
    }
    let request = ApplyChangeSetRequest { upserts: moved.clone(), in_sets: true, ..ApplyChangeSetRequest::default() };
    let answer = sample.admin.answer(request, "ada").await;
    let Err(Error::Invalid(faults)) = answer else { panic!("the account stands in the first set: {answer:?}") };
    assert_eq!(faults[0].code, "account_of_other_provider");
    assert_eq!(sample.log().await.len(), before);
    // With enough before it the first sets stand.
    let mut keys: Vec<Resource> = (0..60).map(|number| key(&format!("many-{number}"), "w", None)).collect();
    keys.extend(moved);
    let request = ApplyChangeSetRequest { upserts: keys, in_sets: true, ..ApplyChangeSetRequest::default() };
    let answer = sample.admin.answer(request, "ada").await.expect("an answer that says so");
    assert!(answer.unfinished.starts_with("1 of 4 change sets stand"), "{}", answer.unfinished);
    assert_eq!((answer.changes.len(), answer.revision as usize), (50, before + 1));
    let keys = answer.changes.iter().filter(|change| change.kind == "ApiKey").count();
    assert!(keys > 40 && answer.generated_keys.len() == keys && answer.generated_keys.iter().all(|made| !made.key.is_empty()), "{keys}");
    assert_eq!(sample.log().await.len(), before + 1);
}
