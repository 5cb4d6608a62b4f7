//! What a look at the process writes down.

use waybill_telemetry::Exposition;

use super::names::{Kind, Name};

/// Metrics of one look.
#[derive(Debug, Default)]
pub struct Sheet(Exposition);

impl Sheet {
    /// A value without a label.
    pub fn write(&mut self, name: &Name, value: u64) {
        self.samples(name, &[], value);
    }

    /// A value with the label that the metric has. Write all of one metric one after another.
    pub fn write_of(&mut self, name: &Name, label: &str, value: u64) {
        let key = name.label.split(':').next().unwrap_or_default();
        self.samples(name, &[(key, label)], value);
    }

    fn samples(&mut self, name: &Name, labels: &[(&str, &str)], value: u64) {
        match name.kind {
            Kind::Counter => self.0.counter(name.name, name.help, labels, value),
            Kind::Gauge => self.0.gauge(name.name, name.help, labels, value),
        }
    }

    /// A metric that another room names: those of the way through Kafka.
    #[cfg(feature = "cluster")]
    pub fn told(&mut self, name: &str, help: &str, is_counter: bool, value: u64) {
        if is_counter { self.0.counter(name, help, &[], value) } else { self.0.gauge(name, help, &[], value) }
    }

    /// A counter of one worker, by a name of the data plane's own.
    pub fn worker(&mut self, name: &str, help: &str, worker: usize, value: u64) {
        self.0.counter(name, help, &[("worker", &worker.to_string())], value);
    }

    /// The text.
    pub fn finish(self) -> String {
        self.0.finish()
    }
}
