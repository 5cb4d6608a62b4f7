//! The values of the Helm chart, `deploy/helm/waybill`: what `values.schema.json` there is made of. The settings of the roles are the same types that
//! the roles read, so that a misspelt setting is refused before anything is installed.

use std::borrow::Cow;
use std::marker::PhantomData;

use schemars::{JsonSchema, Schema, SchemaGenerator};
use serde_json::{Map, Value};

use super::{Billing, Control, Proxy, Role, leaf};

/// An object of Kubernetes' own, whose form is Kubernetes' to say.
type Object = Map<String, Value>;

/// Values of the chart.
#[derive(JsonSchema)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
#[expect(dead_code, reason = "read by Helm only: here it is a schema")]
pub struct Values {
    /// What Helm hands to charts within charts.
    global: Object,
    /// In place of the release's name in the names of objects.
    fullname_override: String,
    image: Image,
    /// Secrets of the registry, `{name: …}` each.
    image_pull_secrets: Vec<Object>,
    store: Store,
    ledger: Ledger,
    kafka: Kafka,
    tls: Tls,
    pepper: Pepper,
    operator_token: SecretKeyIn,
    control: ControlValues,
    proxy: ProxyValues,
    billing: BillingValues,
    jobs: Jobs,
    network_policy: NetworkPolicy,
    monitoring: Monitoring,
}

macro_rules! values {
    ($($(#[doc = $doc:literal])+ $name:ident { $($(#[doc = $field_doc:literal])* $field:ident: $type:ty,)* })*) => {
        $(
            $(#[doc = $doc])+
            #[derive(JsonSchema)]
            #[serde(rename_all = "camelCase", deny_unknown_fields)]
            #[expect(dead_code, reason = "read by Helm only: here it is a schema")]
            struct $name { $($(#[doc = $field_doc])* $field: $type,)* }
        )*
    };
}

values! {
    /// Which image runs.
    Image {
        repository: String,
        /// Empty = the chart's appVersion.
        tag: String,
        /// `sha256:…`, in place of a tag.
        digest: String,
        pull_policy: PullPolicy,
    }
    /// A Secret and the key in it.
    SecretName {
        name: String,
        key: String,
    }
    /// A Secret and the key in it.
    SecretKeyIn {
        secret: String,
        key: String,
    }
    /// Certificates towards a server.
    ServerTls {
        enabled: bool,
        /// The Secret with the authority, and with `tls.crt` and `tls.key` where the client shows a certificate.
        secret: String,
        /// The authority's key in it.
        ca_key: String,
        client_certificate: bool,
    }
    /// etcd: where the configuration is stored.
    Store {
        /// Client addresses, `HOST:PORT` each.
        endpoints: Vec<String>,
        tls: ServerTls,
        /// User of etcd's own rights management; empty = none.
        username: String,
        password_secret: SecretName,
    }
    /// The authority that signed PostgreSQL's certificate.
    LedgerTls {
        /// The Secret; with it, TLS is demanded and the name is checked.
        ca_secret: String,
        ca_key: String,
    }
    /// PostgreSQL: where the bill is kept.
    Ledger {
        host: String,
        port: u16,
        database: String,
        username: String,
        password_secret: SecretName,
        tls: LedgerTls,
    }
    /// Kafka: the way of usage events. Without brokers they go by the control plane.
    Kafka {
        /// Brokers to begin with, `HOST:PORT` each.
        brokers: Vec<String>,
        topic: String,
        /// Whether a job makes the topic and keeps its settings.
        init: bool,
        partitions: u32,
        replication_factor: u32,
        min_insync: u32,
        retention_hours: u32,
        tls: ServerTls,
        /// Empty = no password.
        username: String,
        sasl_mechanism: SaslMechanism,
        password_secret: SecretName,
    }
    /// A Secret with `ca.crt`, `tls.crt`, `tls.key`.
    Certificate {
        secret: String,
    }
    /// Certificates of the connection between the planes.
    Tls {
        /// URI names `spiffe://waybill/control/…`.
        control: Certificate,
        /// URI names `spiffe://waybill/proxy/…`.
        proxy: Certificate,
    }
    /// What API keys are recognised with.
    Pepper {
        secret: String,
        /// Keys in it, newest first.
        keys: Vec<String>,
    }
    /// How many pods of a role may be away for an eviction.
    DisruptionBudget {
        enabled: bool,
        max_unavailable: u32,
    }
    /// Replicas of the control plane.
    ControlValues {
        replicas: u32,
        /// Settings of `waybill control`, over those that the chart makes.
        settings: Partial<Control>,
        env: Vec<Object>,
        env_from: Vec<Object>,
        pod_annotations: Object,
        node_selector: Object,
        tolerations: Vec<Object>,
        /// In place of spreading over nodes.
        affinity: Object,
        priority_class_name: String,
        termination_grace_period_seconds: u32,
        disruption_budget: DisruptionBudget,
        resources: Object,
    }
    /// Where usage events wait.
    Spool {
        mode: SpoolMode,
        /// Size of the volume, `10Gi`. The spool itself takes `proxy.settings.spool.bytes` of it at most.
        size: String,
        /// Empty = the cluster's default.
        storage_class: String,
    }
    /// Scaling by load; with an ephemeral spool only.
    Autoscaling {
        enabled: bool,
        min_replicas: u32,
        max_replicas: u32,
        cpu_percent: u32,
    }
    /// Where applications call.
    Service {
        r#type: ServiceType,
        port: u16,
        annotations: Object,
    }
    /// The proxies.
    ProxyValues {
        replicas: u32,
        spool: Spool,
        autoscaling: Autoscaling,
        /// Settings of `waybill proxy`, over those that the chart makes.
        settings: Partial<Proxy>,
        env: Vec<Object>,
        /// Secrets of provider accounts, as ProviderAccounts name their variables.
        env_from: Vec<Object>,
        pod_annotations: Object,
        node_selector: Object,
        tolerations: Vec<Object>,
        affinity: Object,
        priority_class_name: String,
        /// Between not being ready and taking no new connections.
        drain_delay_seconds: u32,
        /// At least the delay, the drain time of requests (30 s) and the flush time of the spool (60 s) together.
        termination_grace_period_seconds: u32,
        disruption_budget: DisruptionBudget,
        service: Service,
        resources: Object,
    }
    /// Consumers of usage events; with Kafka only.
    BillingValues {
        replicas: u32,
        /// Settings of `waybill billing`, over those that the chart makes.
        settings: Partial<Billing>,
        env: Vec<Object>,
        pod_annotations: Object,
        node_selector: Object,
        tolerations: Vec<Object>,
        affinity: Object,
        priority_class_name: String,
        termination_grace_period_seconds: u32,
        disruption_budget: DisruptionBudget,
        resources: Object,
    }
    /// Jobs before an installation or an upgrade: `waybill migrate`, `waybill kafka init`.
    Jobs {
        backoff_limit: u32,
        active_deadline_seconds: u32,
        node_selector: Object,
        tolerations: Vec<Object>,
        resources: Object,
    }
    /// Who may call whom.
    NetworkPolicy {
        enabled: bool,
        /// `from` of a NetworkPolicy: who may call proxies; empty = everybody.
        applications: Vec<Object>,
        /// Who may call the admin listener.
        operators: Vec<Object>,
        /// Who may read metrics.
        monitoring: Vec<Object>,
        /// `to` of a NetworkPolicy: where etcd and PostgreSQL are; empty = anywhere, on their ports.
        databases: Vec<Object>,
        kafka: Vec<Object>,
        /// Providers inside the cluster, beside those outside.
        providers: Vec<Object>,
        store_ports: Vec<u16>,
        ledger_ports: Vec<u16>,
        kafka_ports: Vec<u16>,
        provider_ports: Vec<u16>,
    }
    /// A ServiceMonitor for each role.
    ServiceMonitor {
        enabled: bool,
        interval: String,
        labels: Object,
    }
    /// Objects with labels by which they are found.
    Found {
        enabled: bool,
        labels: Object,
    }
    /// For Prometheus' operator and Grafana.
    Monitoring {
        service_monitor: ServiceMonitor,
        /// A PrometheusRule with the alerts of `files/alerts.yaml`.
        rules: Found,
        /// A ConfigMap with the dashboards.
        dashboards: Found,
    }
}

macro_rules! words {
    ($($name:ident = $($word:literal)|+;)*) => {
        $(
            struct $name;

            impl JsonSchema for $name {
                fn schema_name() -> Cow<'static, str> {
                    stringify!($name).into()
                }

                fn json_schema(_: &mut SchemaGenerator) -> Schema {
                    schemars::json_schema!({ "type": "string", "enum": [$($word),+] })
                }
            }
        )*
    };
}

words! {
    PullPolicy = "Always" | "IfNotPresent" | "Never";
    SaslMechanism = "SCRAM-SHA-512" | "SCRAM-SHA-256" | "PLAIN";
    SpoolMode = "persistent" | "ephemeral";
    ServiceType = "ClusterIP" | "NodePort" | "LoadBalancer";
}

/// Some of a role's settings.
struct Partial<R>(PhantomData<R>);

impl<R: Role> JsonSchema for Partial<R> {
    fn schema_name() -> Cow<'static, str> {
        R::NAME.into()
    }

    fn json_schema(_: &mut SchemaGenerator) -> Schema {
        let mut schema = R::schema().clone();
        forget_required(&mut schema);
        if let Some(object) = schema.as_object_mut() {
            object.remove("$schema");
            object.remove("title");
        }
        schema.try_into().unwrap_or_default()
    }
}

/// Takes out that a member must be there: what must be set is set by the chart.
fn forget_required(schema: &mut Value) {
    match schema {
        Value::Object(object) => {
            object.retain(|name, value| name != "required" || !value.is_array());
            object.values_mut().for_each(forget_required);
        }
        Value::Array(values) => values.iter_mut().for_each(forget_required),
        _ => {}
    }
}

/// The schema of all values, as it lies beside the chart. Each has a default in `values.yaml`.
pub fn schema() -> Value {
    let mut schema = leaf::schema::<Values>();
    forget_required(&mut schema);
    schema
}

#[cfg(test)]
mod tests {
    use super::*;

    const COMMITTED: &str = include_str!("../../../helm/waybill/values.schema.json");
    const VALUES: &str = include_str!("../../../helm/waybill/values.yaml");
    const README: &str = include_str!("../../../helm/waybill/README.md");

    #[test]
    fn the_charts_schema_is_that_of_the_types() {
        let committed: Value = serde_json::from_str(COMMITTED).expect("JSON");
        assert_eq!(committed, schema(), "put into deploy/helm/waybill/values.schema.json what `waybill schema chart` prints");
    }

    #[test]
    fn the_charts_readme_has_every_value() {
        let schema = schema();
        let missing: Vec<String> = leaf::leaves(&schema)
            .into_iter()
            .map(|leaf| leaf.path)
            .filter(|path| !path.contains(".settings.") && path != "global" && !README.contains(&format!("`{path}`")))
            .collect();
        assert!(missing.is_empty(), "deploy/helm/waybill/README.md does not name {missing:?}");
    }

    #[test]
    fn every_value_has_a_default_where_it_is_looked_for() {
        for leaf in leaf::leaves(&schema()).iter().filter(|leaf| !leaf.path.contains(".settings.") && leaf.path != "global") {
            let name = leaf.path.rsplit('.').next().unwrap_or_default();
            assert!(VALUES.contains(&format!("{name}:")), "deploy/helm/waybill/values.yaml does not have {}", leaf.path);
        }
    }
}
