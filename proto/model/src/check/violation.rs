//! A fault of a resource.

use std::{fmt, str::FromStr};

macro_rules! codes {
    ($($(#[$doc:meta])+ $code:ident = $name:literal,)+) => {
        /// Which rule is broken. The names are promised to programs.
        #[derive(Clone, Copy, Debug, Eq, Hash, Ord, PartialEq, PartialOrd)]
        pub enum Code {
            $($(#[$doc])+ $code,)+
        }

        impl Code {
            /// All codes.
            pub const ALL: &[Self] = &[$(Self::$code),+];

            /// The name of the code.
            #[must_use]
            pub const fn name(self) -> &'static str {
                match self {
                    $(Self::$code => $name),+
                }
            }
        }
    };
}

codes! {
    /// The resource has no name.
    NameMissing = "name_missing",
    /// A letter that no name may have.
    NameMalformed = "name_malformed",
    /// The name is too long.
    NameTooLong = "name_too_long",
    /// Two resources of one kind have the same name.
    NameDuplicate = "name_duplicate",
    /// The resource has no spec.
    SpecMissing = "spec_missing",
    /// More labels than allowed.
    LabelsTooMany = "labels_too_many",
    /// A label's key or value is empty, too long or not printable.
    LabelMalformed = "label_malformed",
    /// The resource is too large.
    ResourceTooLarge = "resource_too_large",
    /// More keys than allowed.
    KeysTooMany = "keys_too_many",
    /// More Guardrails than allowed, of all scopes or of one.
    GuardrailsTooMany = "guardrails_too_many",
    /// More endpoints than allowed.
    EndpointsTooMany = "endpoints_too_many",
    /// A field that must be set is not.
    FieldMissing = "field_missing",
    /// A reference to a resource that does not exist.
    ReferenceDangling = "reference_dangling",
    /// A secret is named by both or by neither of `env` and `file`.
    SecretSource = "secret_source",
    /// The name of an environment variable cannot be one.
    SecretMalformed = "secret_malformed",
    /// Not a dialect.
    DialectUnknown = "dialect_unknown",
    /// The base URL is not of the form that requests can be sent to.
    BaseUrlMalformed = "base_url_malformed",
    /// A header that is ours to set.
    HeaderReserved = "header_reserved",
    /// A header's name or value cannot be sent.
    HeaderMalformed = "header_malformed",
    /// More headers than allowed.
    HeadersTooMany = "headers_too_many",
    /// A status that is no error.
    StatusNotError = "status_not_error",
    /// A number that the enumeration does not have.
    EnumUnknown = "enum_unknown",
    /// Not a modality.
    ModalityUnknown = "modality_unknown",
    /// Not a request parameter.
    ParameterUnknown = "parameter_unknown",
    /// Not a way to steer reasoning.
    ReasoningControlUnknown = "reasoning_control_unknown",
    /// Not a quantization.
    QuantizationUnknown = "quantization_unknown",
    /// Not a sort order.
    SortUnknown = "sort_unknown",
    /// More attempts than allowed.
    AttemptsTooMany = "attempts_too_many",
    /// The account is one at another provider.
    AccountOfOtherProvider = "account_of_other_provider",
    /// The endpoint has no price and may not serve without one.
    EndpointUnpriced = "endpoint_unpriced",
    /// The currency is not one that is billed in.
    CurrencyUnknown = "currency_unknown",
    /// Not a day.
    DateMalformed = "date_malformed",
    /// An instant that does not exist.
    TimeMalformed = "time_malformed",
    /// Two entries of one item come into force at the same instant.
    EntryDuplicate = "entry_duplicate",
    /// An entry prices nothing.
    EntryEmpty = "entry_empty",
    /// Not a meter.
    MeterUnknown = "meter_unknown",
    /// The name of a service tier cannot be one.
    TierMalformed = "tier_malformed",
    /// Two rates for the same meter, tier and band.
    RateDuplicate = "rate_duplicate",
    /// Both or neither of `usdPerMillion` and `usdEach`.
    RatePrices = "rate_prices",
    /// Not a decimal of USD, or too precise, or too large.
    PriceMalformed = "price_malformed",
    /// A price below zero.
    PriceNegative = "price_negative",
    /// An entry of a list of models is neither a name nor `author/*`.
    PatternMalformed = "pattern_malformed",
    /// An allow list names what the deny list beside it shuts out.
    ListContradiction = "list_contradiction",
    /// The name of a member cannot be one.
    MemberMalformed = "member_malformed",
}

/// The word is not the name of a code: it comes from another version.
#[derive(Clone, Debug, Eq, PartialEq, thiserror::Error)]
#[error("`{0}` is not the name of a rule")]
pub struct UnknownCode(pub String);

impl FromStr for Code {
    type Err = UnknownCode;

    fn from_str(name: &str) -> Result<Self, UnknownCode> {
        Self::ALL.iter().copied().find(|code| code.name() == name).ok_or_else(|| UnknownCode(name.to_owned()))
    }
}

impl fmt::Display for Code {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        formatter.write_str(self.name())
    }
}

/// A fault: where, which rule, and what to do about it. The writer of the resource is at fault; a retry does not help.
#[derive(Clone, Debug, Eq, PartialEq, thiserror::Error)]
#[error("{kind} `{name}`: {path}: {message}")]
pub struct Violation {
    /// Its place in the slice that was checked. Tells two resources of one name apart.
    pub index: usize,
    /// The kind of the resource; empty if it has no spec.
    pub kind: &'static str,
    /// `metadata.name` of the resource.
    pub name: String,
    /// The field, as documents spell it: `spec.entries[3].rates[0].usdPerMillion`.
    pub path: String,
    /// The rule.
    pub code: Code,
    /// For people. Never holds a secret.
    pub message: String,
}

/// Collects the faults of one resource.
pub(super) struct Faults<'a> {
    index: usize,
    kind: &'static str,
    name: &'a str,
    found: &'a mut Vec<Violation>,
}

impl<'a> Faults<'a> {
    pub(super) const fn of(index: usize, kind: &'static str, name: &'a str, found: &'a mut Vec<Violation>) -> Self {
        Self { index, kind, name, found }
    }

    pub(super) fn add(&mut self, path: impl Into<String>, code: Code, message: impl Into<String>) {
        let (path, message) = (path.into(), message.into());
        self.found.push(Violation { index: self.index, kind: self.kind, name: self.name.to_owned(), path, code, message });
    }
}
