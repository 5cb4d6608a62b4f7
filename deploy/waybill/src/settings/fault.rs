//! What is wrong with settings: which one, where it was given, what to do.

use std::fmt;

/// Where a setting was given.
#[derive(Clone, Debug, Eq, PartialEq)]
pub enum Origin {
    /// At this line and column of the file.
    File(String, u32, u32),
    /// `WAYBILL_…`
    Variable(String),
    /// `--…`
    Flag(String),
    /// Nowhere.
    Nowhere,
}

impl fmt::Display for Origin {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::File(file, line, column) => write!(formatter, "{file}:{line}:{column}: "),
            Self::Variable(name) => write!(formatter, "{name}: "),
            Self::Flag(name) => write!(formatter, "--{name}: "),
            Self::Nowhere => Ok(()),
        }
    }
}

/// One fault. Whoever wrote the setting is at fault.
#[derive(Clone, Debug, Eq, PartialEq)]
pub struct Fault {
    pub origin: Origin,
    /// The setting's path in the file's form; empty if the fault is of no setting.
    pub path: String,
    /// What is wrong and what to do.
    pub message: String,
}

impl fmt::Display for Fault {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(formatter, "{}", self.origin)?;
        if !self.path.is_empty() {
            write!(formatter, "{}: ", self.path)?;
        }
        formatter.write_str(&self.message)
    }
}

/// The settings of a role cannot be used. Nothing was started; the same again gives the same.
#[derive(Clone, Debug, Eq, PartialEq)]
pub struct Refused {
    /// `control`, `proxy`, `billing`.
    pub role: &'static str,
    pub faults: Vec<Fault>,
}

impl fmt::Display for Refused {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        let count = if self.faults.len() == 1 { "one fault".to_owned() } else { format!("{} faults", self.faults.len()) };
        write!(formatter, "{count} in the settings of `waybill {}`; nothing was started", self.role)?;
        for fault in &self.faults {
            write!(formatter, "\n  {fault}")?;
        }
        Ok(())
    }
}

impl std::error::Error for Refused {}

/// Settings that cannot be meant, by path.
#[derive(Debug, Default)]
pub struct Contradictions(Vec<(String, String)>);

impl Contradictions {
    /// Adds the path of a setting and what is wrong with it.
    pub fn push(&mut self, (path, message): (impl Into<String>, String)) {
        self.0.push((path.into(), message));
    }
}

impl IntoIterator for Contradictions {
    type Item = (String, String);
    type IntoIter = std::vec::IntoIter<(String, String)>;

    fn into_iter(self) -> Self::IntoIter {
        self.0.into_iter()
    }
}
