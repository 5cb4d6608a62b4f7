//! `waybill schema`: the forms of files, for editors, charts and documentation.

use std::process::ExitCode;

use anyhow::Result;
use clap::{Args, Subcommand, ValueEnum};
use waybill_proxy::Counters;

use crate::ops::names;
use crate::settings::{Billing, Control, Leaf, Proxy, Role, chart_schema};

/// Shows the form of a file.
#[derive(Args, Clone, Debug)]
pub struct Schema {
    #[command(subcommand)]
    of: Of,
}

#[derive(Clone, Debug, Subcommand)]
enum Of {
    /// JSON schema of a role's file of settings.
    Settings {
        role: RoleName,
        /// A table for people instead.
        #[arg(long)]
        table: bool,
    },
    /// JSON schema of the Helm chart's values.
    Chart,
    /// Every metric, as a table: name, who tells it, what it means.
    Metrics,
}

#[derive(Clone, Copy, Debug, ValueEnum)]
enum RoleName {
    Control,
    Proxy,
    Billing,
}

/// Prints it.
pub fn run(schema: &Schema) -> Result<ExitCode> {
    match schema.of {
        Of::Chart => println!("{}", serde_json::to_string_pretty(&chart_schema())?),
        Of::Metrics => print!("{}", metrics_table()),
        Of::Settings { role, table } => {
            let (schema, leaves) = match role {
                RoleName::Control => (Control::schema(), Control::leaves()),
                RoleName::Proxy => (Proxy::schema(), Proxy::leaves()),
                RoleName::Billing => (Billing::schema(), Billing::leaves()),
            };
            if table { print!("{}", settings_table(leaves)) } else { println!("{}", serde_json::to_string_pretty(schema)?) }
        }
    }
    Ok(ExitCode::SUCCESS)
}

/// All metrics as the rows of a table in Markdown.
fn metrics_table() -> String {
    let mut text = "| metric | told by | labels | meaning |\n|---|---|---|---|\n".to_owned();
    for name in names::ALL {
        let total = if name.kind == names::Kind::Counter { "_total" } else { "" };
        text.push_str(&format!("| `{}{total}` | {} | {} | {} |\n", name.name, name.roles, name.label, name.help));
    }
    for (name, help, _) in Counters::default().read() {
        text.push_str(&format!("| `{name}_total` | up, proxy | worker: its number | {help} |\n"));
    }
    #[cfg(feature = "cluster")]
    for metric in waybill_meter::emit::Emitted::default().metrics() {
        let total = if metric.counter { "_total" } else { "" };
        text.push_str(&format!("| `{}{total}` | proxy, with Kafka |  | {} |\n", metric.name, metric.help));
    }
    #[cfg(feature = "cluster")]
    for metric in waybill_billing::consume::Consumed::default().metrics() {
        let total = if metric.counter { "_total" } else { "" };
        text.push_str(&format!("| `{}{total}` | billing |  | {} |\n", metric.name, metric.help));
    }
    text
}

/// All settings as the rows of a table in Markdown.
fn settings_table(leaves: &[Leaf]) -> String {
    let mut text = "| setting | default | meaning |\n|---|---|---|\n".to_owned();
    for leaf in leaves {
        let default = match (&leaf.default, leaf.required) {
            (_, true) => "**required**".to_owned(),
            (Some(default), _) if !default.is_empty() => format!("`{default}`"),
            _ => String::new(),
        };
        text.push_str(&format!("| `{}` | {default} | {} |\n", leaf.path, leaf.help.replace('|', "\\|")));
    }
    text
}

#[cfg(test)]
mod tests {
    use super::*;

    const DOCUMENTATION: &str = include_str!("../../docs/roles.md");

    #[test]
    fn the_documentation_has_every_metric() {
        let table = metrics_table();
        assert!(DOCUMENTATION.contains(&table), "deploy/docs/roles.md: put there what `waybill schema metrics` prints\n{table}");
    }

    #[test]
    fn the_documentation_has_every_setting_as_it_is() {
        for (role, leaves) in [("control", Control::leaves()), ("proxy", Proxy::leaves()), ("billing", Billing::leaves())] {
            let table = settings_table(leaves);
            assert!(
                DOCUMENTATION.contains(&table),
                "deploy/docs/roles.md: put there what `waybill schema settings {role} --table` prints\n{table}"
            );
        }
    }

    #[test]
    fn alerts_and_dashboards_ask_for_what_is_told() {
        let table = metrics_table();
        let asked =
            [include_str!("../../helm/waybill/files/alerts.yaml"), include_str!("../../helm/waybill/files/dashboards/waybill.json")];
        let names = asked.iter().flat_map(|text| text.split(|letter: char| !(letter.is_ascii_lowercase() || letter == '_')));
        let unknown: Vec<&str> = names.filter(|name| name.starts_with("waybill_") && !table.contains(&format!("| `{name}` |"))).collect();
        assert!(unknown.is_empty(), "nobody tells {unknown:?}");
    }

    #[test]
    fn every_alert_has_its_page() {
        let pages: Vec<String> = include_str!("../../docs/operate.md")
            .lines()
            .filter_map(|line| line.strip_prefix("### "))
            .map(|title| title.to_lowercase().replace(' ', "-"))
            .collect();
        let alerts = include_str!("../../helm/waybill/files/alerts.yaml");
        let named = alerts.lines().filter_map(|line| line.trim().strip_prefix("runbook: operate.md#"));
        let missing: Vec<&str> = named.filter(|name| !pages.iter().any(|page| page == name)).collect();
        assert!(missing.is_empty(), "deploy/docs/operate.md has no page for {missing:?}");
    }
}
