//! Metrics in Prometheus' text format, version 0.0.4.

use std::fmt::Write;

/// Content type of the text.
pub const CONTENT_TYPE: &str = "text/plain; version=0.0.4; charset=utf-8";

/// Collects metrics into a text. Write all samples of one name one after another.
#[derive(Debug, Default)]
pub struct Exposition {
    text: String,
    last: String,
}

impl Exposition {
    /// An empty text.
    #[must_use]
    pub fn new() -> Self {
        Self::default()
    }

    /// A sample of a counter; the name is given without `_total`.
    pub fn counter(&mut self, name: &str, help: &str, labels: &[(&str, &str)], value: u64) {
        self.sample(&format!("{name}_total"), help, "counter", labels, &value.to_string());
    }

    /// A sample of a gauge.
    pub fn gauge(&mut self, name: &str, help: &str, labels: &[(&str, &str)], value: u64) {
        self.sample(name, help, "gauge", labels, &value.to_string());
    }

    /// The text.
    #[must_use]
    pub fn finish(self) -> String {
        self.text
    }

    fn sample(&mut self, name: &str, help: &str, kind: &str, labels: &[(&str, &str)], value: &str) {
        if self.last != name {
            // Writing to a String cannot fail.
            let _ = writeln!(self.text, "# HELP {name} {help}\n# TYPE {name} {kind}");
            name.clone_into(&mut self.last);
        }
        let labels: Vec<String> = labels.iter().map(|(name, value)| format!("{name}=\"{}\"", escaped(value))).collect();
        let braces = if labels.is_empty() { String::new() } else { format!("{{{}}}", labels.join(",")) };
        let _ = writeln!(self.text, "{name}{braces} {value}");
    }
}

fn escaped(value: &str) -> String {
    value.replace('\\', "\\\\").replace('"', "\\\"").replace('\n', "\\n")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn samples_of_a_name_share_its_head_and_labels_are_escaped() {
        let mut exposition = Exposition::new();
        exposition.counter("waybill_requests", "Requests.", &[("worker", "0")], 3);
        exposition.counter("waybill_requests", "Requests.", &[("worker", "1")], 4);
        exposition.gauge("waybill_spool_bytes", "Bytes.", &[("path", "a\"b\\c\nd")], 5);
        let expected = "# HELP waybill_requests_total Requests.\n# TYPE waybill_requests_total counter\nwaybill_requests_total{worker=\"0\"} 3\n\
            waybill_requests_total{worker=\"1\"} 4\n# HELP waybill_spool_bytes Bytes.\n# TYPE waybill_spool_bytes gauge\n\
            waybill_spool_bytes{path=\"a\\\"b\\\\c\\nd\"} 5\n";
        assert_eq!(exposition.finish(), expected);
    }
}
