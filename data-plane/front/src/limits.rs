//! The limits table. Each limit is named in the error it causes, and set by that name.

use std::time::Duration;

/// A limit was given that is none.
#[derive(Clone, Debug, Eq, PartialEq, thiserror::Error)]
pub enum LimitError {
    /// Not `name=value`.
    #[error("`{0}` is not NAME=VALUE")]
    Form(String),
    /// No such limit.
    #[error("there is no limit `{0}`: the limits are {known}", known = Limits::NAMES.join(", "))]
    Unknown(String),
    /// The value does not fit.
    #[error("`{value}` is no value of {name}: {wanted}")]
    Value {
        /// The limit.
        name: &'static str,
        /// What was given.
        value: String,
        /// What would fit.
        wanted: &'static str,
    },
}

/// A kind of value that a limit has.
trait Value: Sized {
    const WANTED: &'static str;

    fn read(text: &str) -> Option<Self>;

    fn show(&self) -> String;
}

impl Value for usize {
    const WANTED: &'static str = "a whole number above 0";

    fn read(text: &str) -> Option<Self> {
        text.parse().ok().filter(|number| *number > 0)
    }

    fn show(&self) -> String {
        self.to_string()
    }
}

impl Value for u32 {
    const WANTED: &'static str = "a whole number above 0";

    fn read(text: &str) -> Option<Self> {
        text.parse().ok().filter(|number| *number > 0)
    }

    fn show(&self) -> String {
        self.to_string()
    }
}

impl Value for Duration {
    const WANTED: &'static str = "a time above 0 such as 500ms, 30s or 10m";

    fn read(text: &str) -> Option<Self> {
        let (digits, unit) = text.split_at(text.find(|letter: char| !letter.is_ascii_digit())?);
        let number: u64 = digits.parse().ok().filter(|number| *number > 0)?;
        match unit {
            "ms" => Some(Self::from_millis(number)),
            "s" => Some(Self::from_secs(number)),
            "m" => number.checked_mul(60).map(Self::from_secs),
            _ => None,
        }
    }

    fn show(&self) -> String {
        if self.subsec_millis() == 0 { format!("{}s", self.as_secs()) } else { format!("{}ms", self.as_millis()) }
    }
}

macro_rules! limits {
    ($(#[doc = $doc:literal] $name:ident: $type:ty = $default:expr,)*) => {
        /// Every limit of a request's way through the data plane.
        #[derive(Clone, Debug, Eq, PartialEq)]
        pub struct Limits {
            $(#[doc = $doc] pub $name: $type,)*
        }

        impl Default for Limits {
            fn default() -> Self {
                Self { $($name: $default,)* }
            }
        }

        impl Limits {
            /// Names of all limits.
            pub const NAMES: &'static [&'static str] = &[$(stringify!($name)),*];

            /// Sets a limit from `name=value`.
            ///
            /// # Errors
            /// See [`LimitError`].
            pub fn set(&mut self, text: &str) -> Result<(), LimitError> {
                let (name, value) = text.split_once('=').ok_or_else(|| LimitError::Form(text.to_owned()))?;
                match name {
                    $(stringify!($name) => {
                        let wanted = <$type as Value>::WANTED;
                        let read = <$type as Value>::read(value);
                        self.$name = read.ok_or_else(|| LimitError::Value { name: stringify!($name), value: value.to_owned(), wanted })?;
                    })*
                    _ => return Err(LimitError::Unknown(name.to_owned())),
                }
                Ok(())
            }

            /// Name, meaning and value of each.
            pub fn table(&self) -> impl Iterator<Item = (&'static str, &'static str, String)> {
                [$((stringify!($name), $doc, self.$name.show())),*].into_iter()
            }
        }
    };
}

limits! {
    #[doc = "Longest request body."]
    body_bytes: usize = 32 << 20,
    #[doc = "Longest whole answer that is taken into memory to be priced."]
    answer_bytes: usize = 32 << 20,
    #[doc = "All names and values of a request's headers."]
    header_bytes: usize = 16 << 10,
    #[doc = "Deepest nesting of a request; at most 64."]
    json_depth: u32 = 64,
    #[doc = "Members of all objects of a request."]
    json_keys: u32 = 100_000,
    #[doc = "From the opening of a connection, or the end of the answer before, to the end of a request's headers: an idle connection is kept so long."]
    header_time: Duration = Duration::from_secs(60),
    #[doc = "A write that waits for a client who does not read; the connection ends then."]
    write_time: Duration = Duration::from_secs(60),
    #[doc = "From the headers to the end of the body."]
    body_time: Duration = Duration::from_secs(60),
    #[doc = "Name, TCP and TLS towards a provider."]
    connect_time: Duration = Duration::from_secs(5),
    #[doc = "From a request's leaving to the first output of a streamed attempt."]
    first_token_time: Duration = Duration::from_secs(120),
    #[doc = "Silence before a stream's first output after which its caller is told that it is still open, and again each time it has passed."]
    keep_alive_time: Duration = Duration::from_secs(10),
    #[doc = "Between two pieces of an answer."]
    stall_time: Duration = Duration::from_secs(60),
    #[doc = "Of an attempt."]
    total_time: Duration = Duration::from_secs(30 * 60),
    #[doc = "From the signal to the end of the process."]
    drain_time: Duration = Duration::from_secs(30),
    #[doc = "Open connections of one worker thread, each stream of HTTP/2 counted as one."]
    connections: usize = 20_000,
    #[doc = "Longest frame of a provider's stream."]
    frame_bytes: usize = 4 << 20,
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn each_limit_is_set_by_its_name_and_shown_as_it_is_written() {
        for (name, _, value) in Limits::default().table() {
            let mut limits = Limits::default();
            assert_eq!(limits.set(&format!("{name}={value}")), Ok(()), "{name}");
            assert_eq!(limits, Limits::default(), "{name}");
            assert!(limits.set(&format!("{name}=0")).is_err() && limits.set(&format!("{name}=x")).is_err(), "{name}");
        }
        let mut limits = Limits::default();
        for text in ["stall_time=250ms", "total_time=2m", "body_bytes=1024"] {
            assert_eq!(limits.set(text), Ok(()), "{text}");
        }
        assert_eq!((limits.stall_time.as_millis(), limits.total_time.as_secs(), limits.body_bytes), (250, 120, 1024));
        assert!(limits.set("stall_time").is_err());
        assert!(limits.set("stall=1s").is_err_and(|error| error.to_string().contains("stall_time")));
    }
}
