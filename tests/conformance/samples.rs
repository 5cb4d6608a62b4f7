//! The documents that people are shown: each can be read, and together with what `up` makes they are a world without a fault.

use std::{fs, path::Path};

use waybill_model::{check::check, document::read};
use waybill_proto::model::v1::{Metadata, Model, Org, Provider, Resource, Workspace, resource::Spec};

/// Of what stands there before anything is applied, that which samples name: the first Org and Workspace, and of the sandbox.
fn before() -> Vec<Resource> {
    let named = |name: &str, spec| Resource { metadata: Some(Metadata { name: name.to_owned(), ..Metadata::default() }), spec: Some(spec) };
    let sandbox = Provider { dialect: "openai".to_owned(), base_url: "http://127.0.0.1:9/v1".to_owned(), ..Provider::default() };
    let mut resources = vec![
        named("default", Spec::Org(Org::default())),
        named("default", Spec::Workspace(Workspace { org: "default".to_owned(), ..Workspace::default() })),
        named("sandbox", Spec::Provider(sandbox)),
    ];
    let models = waybill_sandbox::models::TABLE.iter().map(|row| named(&row.model(), Spec::Model(Model::default())));
    resources.extend(models);
    resources
}

fn faults(name: &str, text: &str) -> Vec<String> {
    match read(&[(name, text.as_bytes())]) {
        Err(faults) => faults.iter().map(ToString::to_string).collect(),
        Ok(documents) => {
            assert!(!documents.is_empty(), "{name} holds documents");
            let mut world = before();
            world.extend(documents.into_iter().map(|document| document.resource));
            check(&world).iter().map(ToString::to_string).collect()
        }
    }
}

#[test]
fn every_sample_can_be_applied() {
    let root = Path::new(env!("CARGO_MANIFEST_DIR")).join("..");
    let readme = fs::read_to_string(root.join("README.md")).unwrap();
    let shown = readme.split("```yaml\n").skip(1).filter_map(|rest| rest.split_once("```")).map(|(text, _)| text.to_owned());
    let mut samples: Vec<(String, String)> = shown.map(|text| ("README.md".to_owned(), text)).collect();
    for entry in fs::read_dir(root.join("deploy/samples")).unwrap() {
        let path = entry.unwrap().path();
        samples.push((path.display().to_string(), fs::read_to_string(&path).unwrap()));
    }
    assert!(samples.len() > 1);
    for (name, text) in samples {
        assert_eq!(faults(&name, &text), Vec::<String>::new(), "{name}");
    }
    assert_eq!(faults("broken", "apiVersion: waybill/v1\nkind: Workspace\nmetadata: {name: w}\nspec: {org: nobody}\n").len(), 1);
}
