//! Meters: the disjoint classes of what a provider charges for.

use std::{fmt, str::FromStr};

/// A class of units. Classes are disjoint: no unit is counted in two.
#[derive(Clone, Copy, Debug, Eq, Hash, Ord, PartialEq, PartialOrd)]
#[repr(u8)]
pub enum Meter {
    /// Input tokens that no cache served.
    Input,
    /// Input tokens read from the provider's prompt cache.
    CacheRead,
    /// Input tokens written to a cache that lives five minutes.
    CacheWrite5m,
    /// Input tokens written to a cache that lives an hour.
    CacheWrite1h,
    /// Output tokens other than reasoning and audio.
    Output,
    /// Reasoning tokens.
    Reasoning,
    /// Audio tokens in.
    AudioInput,
    /// Audio tokens out.
    AudioOutput,
    /// Image tokens in, where the provider prices them apart.
    ImageInput,
    /// Image tokens out.
    ImageOutput,
    /// The request itself.
    Request,
    /// Searches the provider made on its own.
    Search,
}

/// How many meters there are.
pub const METERS: usize = 12;

impl Meter {
    /// All meters, in the order in which lines are printed.
    pub const ALL: [Self; METERS] = [
        Self::Input,
        Self::CacheRead,
        Self::CacheWrite5m,
        Self::CacheWrite1h,
        Self::Output,
        Self::Reasoning,
        Self::AudioInput,
        Self::AudioOutput,
        Self::ImageInput,
        Self::ImageOutput,
        Self::Request,
        Self::Search,
    ];

    /// The name used in documents, events and metrics.
    #[must_use]
    pub const fn name(self) -> &'static str {
        match self {
            Self::Input => "input",
            Self::CacheRead => "cache_read",
            Self::CacheWrite5m => "cache_write_5m",
            Self::CacheWrite1h => "cache_write_1h",
            Self::Output => "output",
            Self::Reasoning => "reasoning",
            Self::AudioInput => "audio_input",
            Self::AudioOutput => "audio_output",
            Self::ImageInput => "image_input",
            Self::ImageOutput => "image_output",
            Self::Request => "request",
            Self::Search => "search",
        }
    }

    /// Units of this meter are part of the input, so they count for the context band.
    #[must_use]
    pub const fn is_input(self) -> bool {
        matches!(self, Self::Input | Self::CacheRead | Self::CacheWrite5m | Self::CacheWrite1h | Self::AudioInput | Self::ImageInput)
    }

    /// Units of this meter are output tokens.
    #[must_use]
    pub const fn is_output(self) -> bool {
        matches!(self, Self::Output | Self::Reasoning | Self::AudioOutput | Self::ImageOutput)
    }

    /// The meter whose rate holds when this one has none: providers price what they do not list as the plain class.
    /// `None` means free: a request or a search that is not listed costs nothing.
    #[must_use]
    pub const fn fallback(self) -> Option<Self> {
        match self {
            Self::CacheWrite1h => Some(Self::CacheWrite5m),
            Self::CacheRead | Self::CacheWrite5m | Self::AudioInput | Self::ImageInput => Some(Self::Input),
            Self::Reasoning | Self::AudioOutput | Self::ImageOutput => Some(Self::Output),
            Self::Input | Self::Output | Self::Request | Self::Search => None,
        }
    }
}

impl fmt::Display for Meter {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        formatter.write_str(self.name())
    }
}

/// The word is not the name of a meter.
#[derive(Clone, Debug, Eq, PartialEq, thiserror::Error)]
#[error(
    "`{0}` is not a meter: use one of input, cache_read, cache_write_5m, cache_write_1h, output, reasoning, audio_input, audio_output, image_input, image_output, request, search"
)]
pub struct UnknownMeter(String);

impl FromStr for Meter {
    type Err = UnknownMeter;

    fn from_str(name: &str) -> Result<Self, UnknownMeter> {
        Self::ALL.into_iter().find(|meter| meter.name() == name).ok_or_else(|| UnknownMeter(name.to_owned()))
    }
}

/// Quantities by meter, in units (tokens, requests, searches).
#[derive(Clone, Copy, Debug, Default, Eq, PartialEq)]
pub struct Quantities([u64; METERS]);

impl Quantities {
    /// The quantity of one meter.
    #[must_use]
    pub const fn get(&self, meter: Meter) -> u64 {
        self.0[meter as usize]
    }

    /// Sets the quantity of one meter.
    pub const fn set(&mut self, meter: Meter, quantity: u64) {
        self.0[meter as usize] = quantity;
    }

    /// The same with one quantity set.
    #[must_use]
    pub const fn with(mut self, meter: Meter, quantity: u64) -> Self {
        self.set(meter, quantity);
        self
    }

    /// Meters that have a quantity.
    pub fn iter(&self) -> impl Iterator<Item = (Meter, u64)> + '_ {
        Meter::ALL.into_iter().map(|meter| (meter, self.get(meter))).filter(|(_, quantity)| *quantity > 0)
    }

    /// All input tokens, cached or not.
    #[must_use]
    pub fn input_total(&self) -> u64 {
        self.iter().filter(|(meter, _)| meter.is_input()).fold(0, |sum, (_, quantity)| sum.saturating_add(quantity))
    }

    /// All output tokens, with reasoning.
    #[must_use]
    pub fn output_total(&self) -> u64 {
        self.iter().filter(|(meter, _)| meter.is_output()).fold(0, |sum, (_, quantity)| sum.saturating_add(quantity))
    }
}
