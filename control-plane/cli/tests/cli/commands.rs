//! What commands ask for, how they fail, and how they end.

use std::fs;

use serde_json::Value;
use waybill_cli::{Error, Exit};
use waybill_proto::{
    admin::v1::{
        ApplyChangeSetResponse, EventRow, GeneratedKey, GetResponse, ListResponse, ProxyStatus, RecomputeResponse, RolloutRow,
        RolloutsResponse, VerifyResponse, Violation, WaitAppliedResponse,
    },
    model::v1::{ApiKey, Metadata, PriceBook, PriceEntry, Rate, Resource, resource::Spec},
    usage::v1::{Event, Kind},
};

use crate::fake::{Fake, run};

fn violation(kind: &str, name: &str, path: &str, code: &str) -> Violation {
    let (kind, name, path, code) = (kind.to_owned(), name.to_owned(), path.to_owned(), code.to_owned());
    Violation { kind, name, path, code, message: "no good".to_owned() }
}

#[test]
fn documents_of_a_folder_are_applied_as_one_change_set_and_many_as_several() {
    let folder = tempfile::tempdir().expect("a folder");
    let org = |name: &str| format!("apiVersion: waybill/v1\nkind: Org\nmetadata: {{ name: {name} }}\nspec: {{}}\n");
    fs::write(folder.path().join("b.yml"), org("b")).expect("written");
    fs::write(folder.path().join("a.yaml"), [org("a1"), org("a2")].join("---\n")).expect("written");
    fs::write(folder.path().join("c.json"), r#"{"apiVersion":"waybill/v1","kind":"Org","metadata":{"name":"c"},"spec":{}}"#)
        .expect("written");
    fs::write(folder.path().join("notes.txt"), "no document").expect("written");
    let path = folder.path().display().to_string();
    let fake = Fake::default();
    let report = run(&fake, &["apply", "-f", &path, "--dry-run"]).expect("applied");
    assert_eq!(report.exit, Exit::Done);
    let many: Vec<String> = (0..51).map(|number| org(&format!("m{number}"))).collect();
    fs::write(folder.path().join("d.yaml"), many.join("---\n")).expect("written");
    run(&fake, &["apply", "-f", &path]).expect("applied");
    let applied = fake.applied.lock().expect("applied");
    let names: Vec<&str> = applied[0].upserts.iter().filter_map(|one| Some(one.metadata.as_ref()?.name.as_str())).collect();
    assert_eq!((names, applied[0].dry_run, applied[0].in_sets), (vec!["a1", "a2", "b", "c"], true, false));
    assert_eq!((applied[1].upserts.len(), applied[1].dry_run, applied[1].in_sets), (55, false, true));
    assert!(applied.iter().all(|request| request.faults_in_answer));
}

#[test]
fn an_apply_that_waits_asks_for_its_revision_and_ends_as_the_fleet_says() {
    let file = tempfile::NamedTempFile::with_suffix(".yaml").expect("a file");
    fs::write(file.path(), "apiVersion: waybill/v1\nkind: Org\nmetadata: { name: a }\nspec: {}\n").expect("written");
    let path = file.path().display().to_string();
    let behind = ProxyStatus { proxy: "p-1".to_owned(), connected: true, applied_revision: 8, ..ProxyStatus::default() };
    // What is typed, what is asked (milliseconds), the revision that was made, how it ends.
    let rows: [(&str, Option<u64>, u64, Exit); 4] = [
        ("--wait", Some(30_000), 8, Exit::Done),
        ("--wait=5", Some(5_000), 9, Exit::Unreachable),
        ("--output=json", None, 9, Exit::Done),
        ("--wait=600", Some(600_000), 7, Exit::Done),
    ];
    for (word, timeout_ms, revision, exit) in rows {
        let fake = Fake {
            apply: ApplyChangeSetResponse { revision, ..ApplyChangeSetResponse::default() },
            wait: WaitAppliedResponse { proxies: vec![behind.clone()], ..WaitAppliedResponse::default() },
            ..Fake::default()
        };
        let report = run(&fake, &["apply", "-f", &path, word]).expect("applied");
        let asked: Vec<(u64, u64)> = fake.waited.lock().expect("waited").iter().map(|asked| (asked.revision, asked.timeout_ms)).collect();
        assert_eq!((asked, report.exit), (timeout_ms.map(|ms| (revision, ms)).into_iter().collect(), exit), "{word}: {}", report.note);
    }
    for words in [["--wait", "--dry-run"], ["--wait=0", "-o=json"], ["--wait=601", "-o=json"]] {
        assert!(matches!(run(&Fake::default(), &[&["apply", "-f", &path][..], &words].concat()), Err(Error::Usage(_))), "{words:?}");
    }
}

#[test]
fn what_is_deleted_is_named_by_kind_and_name_and_goes_at_once() {
    let fake = Fake::default();
    run(&fake, &["delete", "orgs", "a", "b", "--dry-run"]).expect("deleted");
    {
        let applied = fake.applied.lock().expect("applied");
        let names: Vec<(&str, &str)> = applied[0].deletes.iter().map(|one| (one.kind.as_str(), one.name.as_str())).collect();
        assert_eq!((names, applied[0].dry_run, applied[0].upserts.len()), (vec![("Org", "a"), ("Org", "b")], true, 0));
    }
    for (words, understood) in [(&["delete", "orgs"][..], "NAMES"), (&["delete", "planets", "mars"], "planets")] {
        let Err(Error::Usage(message)) = run(&fake, words) else { panic!("not understood") };
        assert!(message.contains(understood), "{message}");
    }
    // Something else still names it.
    let violations = vec![violation("Workspace", "w", "spec.org", "reference_missing")];
    let fake = Fake { apply: ApplyChangeSetResponse { violations, ..ApplyChangeSetResponse::default() }, ..Fake::default() };
    let Err(Error::Refused(message)) = run(&fake, &["delete", "Org", "acme"]) else { panic!("refused") };
    assert!(message.contains("Workspace `w`: spec.org: no good"), "{message}");
}

#[test]
fn faults_have_their_file_line_and_path_wherever_they_were_found() {
    let file = tempfile::NamedTempFile::with_suffix(".yaml").expect("a file");
    let path = file.path().display().to_string();
    let text = "# teams\napiVersion: waybill/v1\nkind: Workspace\nmetadata: { name: w }\nspec:\n  org: acm\n  color: red\n";
    fs::write(file.path(), text).expect("written");
    let fake = Fake::default();
    let Err(Error::Faults(faults)) = run(&fake, &["apply", "-f", &path]) else { panic!("refused") };
    assert_eq!((faults[0].line, faults[0].path.as_str()), (7, "spec.color"));
    assert!(fake.applied.lock().expect("applied").is_empty(), "nothing is sent");
    // Found by the server, and shown at the line in which it was written; a rule of a newer server is shown without its line.
    fs::write(
        file.path(),
        text.replace(
            "  color: red\n",
            "---\napiVersion: waybill/v1\nkind: ApiKey\nmetadata: { name: k }\nspec:\n  workspace: w\n  keyFrom: { env: KEY }\n",
        ),
    )
    .expect("written");
    let violations =
        vec![violation("Workspace", "w", "spec.org", "reference_dangling"), violation("ApiKey", "k", "spec.keyFrom", "key_malformed")];
    let fake = Fake { apply: ApplyChangeSetResponse { violations, ..ApplyChangeSetResponse::default() }, ..Fake::default() };
    let error = run(&fake, &["apply", "-f", &path]).expect_err("refused");
    assert_eq!(error.exit(), Exit::Refused);
    let expected = format!(
        "{path}:6:8: spec.org: no good\n  6 |   org: acm\n    |        ^\n{path}:13:3: spec.keyFrom: no good\n2 faults: nothing was applied"
    );
    assert_eq!(error.to_string(), expected);
    // Of a resource that is in no document.
    let violations = vec![violation("Endpoint", "e", "spec.model", "reference_dangling")];
    let fake = Fake { apply: ApplyChangeSetResponse { violations, ..ApplyChangeSetResponse::default() }, ..Fake::default() };
    let error = run(&fake, &["apply", "-f", &path]).expect_err("refused");
    assert_eq!(error.to_string(), "nothing was applied:\nEndpoint `e`: spec.model: no good");
}

#[test]
fn an_unfinished_plan_is_shown_and_ends_as_refused() {
    let file = tempfile::NamedTempFile::with_suffix(".yaml").expect("a file");
    fs::write(file.path(), "apiVersion: waybill/v1\nkind: Org\nmetadata: { name: acme }\nspec: {}\n").expect("written");
    let unfinished = "1 of 2 change sets stand".to_owned();
    let generated_keys = vec![GeneratedKey { name: "k".to_owned(), key: "wb_live_text".to_owned() }];
    let fake = Fake { apply: ApplyChangeSetResponse { unfinished, generated_keys, ..Default::default() }, ..Fake::default() };
    let report = run(&fake, &["apply", "-f", &file.path().display().to_string()]).expect("a report");
    assert_eq!(report.exit, Exit::Refused);
    assert!(report.out.contains("wb_live_text") && report.note.contains("1 of 2 change sets stand"), "{report:?}");
}

#[test]
fn commands_that_are_not_understood_say_so() {
    let rows: [&[&str]; 12] = [
        &["apply"],
        &["apply", "-f", "/nowhere/at-all.yaml"],
        &["get", "Pod", "x"],
        &["list", "pods"],
        &["list", "models", "-l", "team"],
        &["keys", "create", "--name", "k"],
        &["keys", "create", "--name", "k", "--workspace", "w", "--expires", "soon"],
        &["ledger", "show", "--kind", "intent"],
        &["ledger", "adjust", "att-x", "--amount", "1"],
        &["ledger", "write-off", "log-7", "--operator", "ann", "--reason", "disk"],
        &["ledger", "write-off", "7", "--operator", "ann"],
        &["explain"],
    ];
    for words in rows {
        let error = run(&Fake::default(), words).expect_err("refused");
        assert_eq!(error.exit(), Exit::Usage, "{words:?}: {error}");
    }
    let unknown = run(&Fake::default(), &["explain", "gen-x"]).expect_err("unknown");
    assert_eq!((unknown.exit(), unknown.to_string().as_str()), (Exit::Refused, "`gen-x` is not in the ledger"));
}

#[test]
fn checks_that_find_something_end_as_refused() {
    let fault = || vec!["account a: 1, not 2".to_owned()];
    for (faults, exit) in [(Vec::new(), Exit::Done), (fault(), Exit::Refused)] {
        for format in ["table", "json", "yaml"] {
            let verify = VerifyResponse { events: 3, faults: faults.clone(), ..VerifyResponse::default() };
            let recompute = RecomputeResponse { events: 3, differences: faults.clone(), ..RecomputeResponse::default() };
            let fake = Fake { verify, recompute, ..Fake::default() };
            for verb in ["verify", "recompute"] {
                let report = run(&fake, &["ledger", verb, "-o", format]).expect("checked");
                assert_eq!(report.exit, exit, "{verb} {format}");
                assert_eq!(report.out.contains("account a"), exit == Exit::Refused, "{}", report.out);
            }
        }
    }
}

#[test]
fn json_has_all_events_and_a_table_the_newest() {
    let event = || Event { kind: Kind::Settled.into(), amount_picousd: 7, ..Event::default() };
    let row = |position| EventRow { incarnation: 1, sequence: position, event: Some(event()), adjusted: None, position };
    let fake = Fake { events: (1..=12_345).map(row).collect(), ..Fake::default() };
    let report = run(&fake, &["ledger", "show", "--output", "json"]).expect("shown");
    let rows: Vec<EventRow> = serde_json::from_str(&report.out).expect("rows of the contract");
    assert_eq!(rows, fake.events);
    let value: Value = serde_json::from_str(&report.out).expect("JSON");
    assert_eq!(value[0]["event"]["amountPicousd"], "7");
    let lines = |words: &[&str]| run(&fake, words).expect("shown").out.lines().count() - 1;
    assert_eq!(lines(&["ledger", "show"]), 50);
    assert_eq!(lines(&["ledger", "show", "--limit", "5001"]), 5_001);
}

#[test]
fn resources_are_shown_as_the_documents_that_apply_reads() {
    let rate = Rate { meter: "input".to_owned(), usd_per_million: "2.50".to_owned(), ..Rate::default() };
    let entry = PriceEntry { item: "m".to_owned(), rates: vec![rate], ..PriceEntry::default() };
    let spec = Spec::PriceBook(PriceBook { currency: "USD".to_owned(), entries: vec![entry], ..PriceBook::default() });
    let metadata = Metadata { name: "openai".to_owned(), uid: "uid-1".to_owned(), generation: 3, ..Metadata::default() };
    let resource = Resource { metadata: Some(metadata), spec: Some(spec) };
    let fake = Fake { get: GetResponse { resource: Some(resource.clone()), revision: 3 }, ..Fake::default() };
    for format in [&[][..], &["-o", "json"], &["-o", "yaml"]] {
        let report = run(&fake, &[&["get", "pricebooks", "openai"], format].concat()).expect("shown");
        let read = waybill_model::document::read(&[("shown", report.out.as_bytes())]).expect("a document");
        assert_eq!(read[0].resource, resource, "{}", report.out);
    }
    let page = |names: &[&str], token: &str| ListResponse {
        resources: names
            .iter()
            .map(|name| Resource { metadata: Some(Metadata { name: (*name).to_owned(), ..Metadata::default() }), ..resource.clone() })
            .collect(),
        next_page_token: token.to_owned(),
        revision: 9,
    };
    let pages = || vec![page(&["a", "b"], "PriceBook/b"), page(&["c"], "")].into();
    let report = run(&Fake { pages: pages(), ..Fake::default() }, &["list", "pricebook", "-o", "yaml"]).expect("listed");
    assert_eq!(waybill_model::document::read(&[("shown", report.out.as_bytes())]).expect("documents").len(), 3);
    let report = run(&Fake { pages: pages(), ..Fake::default() }, &["list", "pricebook", "-o", "json"]).expect("listed");
    let value: Value = serde_json::from_str(&report.out).expect("JSON");
    assert_eq!((value["revision"].as_str(), value["resources"][2]["metadata"]["name"].as_str()), (Some("9"), Some("c")));
}

#[test]
fn a_new_key_is_alone_on_standard_output() {
    let made = GeneratedKey { name: "ci".to_owned(), key: "wb_live_text".to_owned() };
    let fake = Fake { apply: ApplyChangeSetResponse { generated_keys: vec![made], ..Default::default() }, ..Fake::default() };
    let report = run(&fake, &["keys", "create", "--name", "ci", "--workspace", "w", "--expires", "2099-01-01T00:00:00Z"]).expect("made");
    assert_eq!(report.out, "wb_live_text\n");
    let applied = fake.applied.lock().expect("applied");
    let Some(Spec::ApiKey(ApiKey { workspace, expire_time, key_from, .. })) = &applied[0].upserts[0].spec else { panic!("a key") };
    assert_eq!((workspace.as_str(), expire_time.as_ref().map(|time| time.seconds), key_from), ("w", Some(4_070_908_800), &None));
    assert_eq!((applied[0].preconditions[0].name.as_str(), applied[0].preconditions[0].generation), ("ci", 0));
}

#[test]
fn nobody_there_is_an_exit_code_of_its_own() {
    // A port that was free a moment ago, and whose owner is gone.
    let listener = std::net::TcpListener::bind("127.0.0.1:0").expect("a port");
    let address = listener.local_addr().expect("an address").to_string();
    drop(listener);
    let line = <crate::fake::Line as clap::Parser>::parse_from(["waybill", "status", "--admin", &address]);
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().expect("a runtime");
    let code = runtime.block_on(waybill_cli::run(&line.command, None));
    assert_eq!(format!("{code:?}"), format!("{:?}", std::process::ExitCode::from(3)));
}

#[test]
fn a_rollout_is_asked_for_listed_waited_for_and_halted() {
    let file = tempfile::NamedTempFile::with_suffix(".yaml").expect("a file");
    fs::write(file.path(), "apiVersion: waybill/v1\nkind: Org\nmetadata: { name: o }\nspec: {}\n").expect("written");
    let path = file.path().display().to_string();
    let row = |state: &str| RolloutRow { id: "r1".to_owned(), state: state.to_owned(), ring: 1, ..RolloutRow::default() };
    let look = |state: &str| RolloutsResponse { rollouts: vec![row(state)] };
    let begun = ApplyChangeSetResponse { rollout: "r1".to_owned(), ..ApplyChangeSetResponse::default() };
    let fake = Fake { apply: begun, rollouts: vec![look("baking")].into(), ..Fake::default() };
    for (words, bake_ms) in [(&["--rollout"][..], 0), (&["--rollout", "--bake", "2m"], 120_000), (&["--rollout", "--bake=250ms"], 250)] {
        let report = run(&fake, &[&["apply", "-f", &path], words].concat()).expect("applied");
        assert!(report.note.contains("waybill rollout halt r1"), "{}", report.note);
        let asked = fake.applied.lock().expect("applied").pop().expect("a request");
        assert_eq!(asked.rollout.map(|plan| plan.bake_ms), Some(bake_ms));
    }
    for wrong in [&["--bake", "30s"][..], &["--rollout", "--bake", "0s"], &["--rollout", "--bake", "30"], &["--rollout", "--dry-run"]] {
        assert!(matches!(run(&fake, &[&["apply", "-f", &path], wrong].concat()), Err(Error::Usage(_))), "{wrong:?}");
    }
    let listed = run(&fake, &["rollout", "list"]).expect("listed");
    assert!(listed.out.contains("r1") && listed.out.contains("baking"), "{}", listed.out);
    let halted = run(&fake, &["rollout", "halt", "r1", "--reason", "no good"]).expect("halted");
    assert!(halted.out.contains("no good"), "{}", halted.out);
    for (last, exit) in [("done", Exit::Done), ("halted", Exit::Refused)] {
        let fake = Fake { rollouts: vec![look(last)].into(), ..Fake::default() };
        assert_eq!(run(&fake, &["rollout", "wait", "r1"]).expect("it has ended").exit, exit);
        assert!(matches!(run(&fake, &["rollout", "wait", "r2"]), Err(Error::Refused(_))));
        let begun = ApplyChangeSetResponse { rollout: "r1".to_owned(), ..ApplyChangeSetResponse::default() };
        let fake = Fake { apply: begun, ..fake };
        assert_eq!(run(&fake, &["apply", "-f", &path, "--rollout", "--wait"]).expect("it has ended").exit, exit);
        assert!(fake.waited.lock().expect("waited").is_empty(), "the fleet is not asked for one revision");
    }
}
