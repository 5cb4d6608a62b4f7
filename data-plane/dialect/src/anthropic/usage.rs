//! Anthropic's usage objects as disjoint classes.
//!
//! Input, cache reads and cache writes are told apart already; thinking is a part of the output. A stream tells twice
//! and more: what is told later stands for what was told before.

use crate::json::{Error, Kind, Scan, Span};
use crate::usage::{Reading, UsageFault, UsageObject, cost_text, count};

/// The counts as they were told; `None` = not mentioned or `null`.
#[derive(Clone, Debug, Default)]
pub(super) struct Counts {
    input: Option<u64>,
    output: Option<u64>,
    cache_read: Option<u64>,
    cache_write: Option<u64>,
    cache_write_5m: Option<u64>,
    cache_write_1h: Option<u64>,
    thinking: Option<u64>,
    searches: Option<u64>,
    /// Runs that the counts above leave out.
    beside: Option<Box<Reading>>,
    reported_cost: Option<Box<str>>,
    /// The first count that is none.
    fault: Option<UsageFault>,
}

/// A usage object in a text.
#[derive(Debug)]
pub(super) struct Usage<'a> {
    pub span: Span,
    pub cost: Option<Span>,
    pub is_empty: bool,
    pub is_object: bool,
    pub counts: Counts,
    /// The tier that was served.
    pub service_tier: Option<crate::json::Text<'a>>,
}

impl<'a> Usage<'a> {
    /// Reads the value that the scan stands before; it is consumed whole, whatever it says.
    ///
    /// # Errors
    /// Only if the text is no JSON.
    pub(super) fn read(scan: &mut Scan<'a>) -> Result<Self, Error> {
        let is_object = scan.peek()? == Kind::Object;
        let start = scan.at();
        let mut usage =
            Self { span: Span::default(), cost: None, is_empty: true, is_object, counts: Counts::default(), service_tier: None };
        if !is_object {
            usage.span = scan.skip()?;
            usage.counts.fault = Some(UsageFault::NotAnObject);
            return Ok(usage);
        }
        let mut inside = scan.object()?;
        while let Some(key) = scan.key(&mut inside)? {
            usage.is_empty = false;
            match (key.raw(), scan.peek()?) {
                (b"cost", _) => {
                    let at = scan.at();
                    usage.counts.reported_cost = cost_text(scan)?;
                    usage.cost = Some(Span::new(at, scan.at()));
                }
                (b"service_tier", Kind::String) => usage.service_tier = Some(scan.string()?),
                (b"iterations", Kind::Array) => usage.counts.iterations(scan)?,
                (name, _) => usage.counts.member(name, scan)?,
            }
        }
        usage.span = Span::new(start, scan.at());
        Ok(usage)
    }

    /// Where the cost goes, if it can.
    pub(super) fn place(&self) -> Option<UsageObject> {
        self.is_object.then(|| UsageObject { span: self.span, cost: self.cost, is_empty: self.is_empty, reading: self.counts.reading() })
    }
}

impl Counts {
    fn member(&mut self, name: &[u8], scan: &mut Scan<'_>) -> Result<(), Error> {
        let (slot, label) = match name {
            b"input_tokens" => (&mut self.input, "input_tokens"),
            b"output_tokens" => (&mut self.output, "output_tokens"),
            b"cache_read_input_tokens" => (&mut self.cache_read, "cache_read_input_tokens"),
            b"cache_creation_input_tokens" => (&mut self.cache_write, "cache_creation_input_tokens"),
            b"cache_creation" | b"output_tokens_details" | b"server_tool_use" if scan.peek()? == Kind::Object => {
                let mut inside = scan.object()?;
                while let Some(key) = scan.key(&mut inside)? {
                    self.detail(key.raw(), scan)?;
                }
                return Ok(());
            }
            _ => {
                scan.skip()?;
                return Ok(());
            }
        };
        store(slot, label, scan, &mut self.fault)
    }

    fn detail(&mut self, name: &[u8], scan: &mut Scan<'_>) -> Result<(), Error> {
        let (slot, label) = match name {
            b"ephemeral_5m_input_tokens" => (&mut self.cache_write_5m, "cache_creation.ephemeral_5m_input_tokens"),
            b"ephemeral_1h_input_tokens" => (&mut self.cache_write_1h, "cache_creation.ephemeral_1h_input_tokens"),
            b"thinking_tokens" => (&mut self.thinking, "output_tokens_details.thinking_tokens"),
            b"web_search_requests" => (&mut self.searches, "server_tool_use.web_search_requests"),
            _ => {
                scan.skip()?;
                return Ok(());
            }
        };
        store(slot, label, scan, &mut self.fault)
    }

    /// The runs of an answer that took several. Compactions and advisers are billed, and the totals leave them out.
    fn iterations(&mut self, scan: &mut Scan<'_>) -> Result<(), Error> {
        let mut sum = Reading::default();
        let mut found = false;
        let mut inside = scan.array()?;
        while scan.element(&mut inside)? {
            if scan.peek()? != Kind::Object {
                scan.skip()?;
                continue;
            }
            let mut run = Self::default();
            let mut is_beside = false;
            let mut members = scan.object()?;
            while let Some(key) = scan.key(&mut members)? {
                match (key.raw(), scan.peek()?) {
                    (b"type", Kind::String) => {
                        let kind = scan.string()?;
                        is_beside = kind.is("compaction") || kind.is("advisor_message");
                    }
                    (name, _) => run.member(name, scan)?,
                }
            }
            if !is_beside {
                continue;
            }
            found = true;
            match run.reading().and_then(|reading| sum_of(&sum, &reading)) {
                Ok(more) => sum = more,
                Err(fault) => self.fault = self.fault.take().or(Some(fault)),
            }
        }
        if found {
            self.beside = Some(Box::new(sum));
        }
        Ok(())
    }

    /// The output, or what is told of it is no count.
    pub(super) const fn tells_output(&self) -> bool {
        self.output.is_some() || self.fault.is_some()
    }

    /// The same with no output, be it told or not.
    pub(super) fn without_output(&self) -> Self {
        Self { output: Some(0), ..self.clone() }
    }

    /// Takes over what is told later.
    pub(super) fn then(&mut self, later: Self) {
        self.input = later.input.or(self.input);
        self.output = later.output.or(self.output);
        self.cache_read = later.cache_read.or(self.cache_read);
        if let Some(total) = later.cache_write.filter(|_| later.cache_write_5m.or(later.cache_write_1h).is_none()) {
            self.resplit(total);
        }
        self.cache_write = later.cache_write.or(self.cache_write);
        self.cache_write_5m = later.cache_write_5m.or(self.cache_write_5m);
        self.cache_write_1h = later.cache_write_1h.or(self.cache_write_1h);
        self.thinking = later.thinking.or(self.thinking);
        self.searches = later.searches.or(self.searches);
        self.beside = later.beside.or(self.beside.take());
        self.reported_cost = later.reported_cost.or(self.reported_cost.take());
        self.fault = self.fault.take().or(later.fault);
    }

    /// A total that comes without its split: the split that was told holds as far as it fits, and all of it if only one
    /// life was told.
    fn resplit(&mut self, total: u64) {
        let hour = self.cache_write_1h.unwrap_or(0);
        let only_hours = hour > 0 && self.cache_write_5m.unwrap_or(0) == 0 && self.cache_write.is_none_or(|before| before == hour);
        self.cache_write_5m = None;
        self.cache_write_1h = Some(if only_hours { total } else { hour.min(total) });
    }

    /// The classes, nothing in two of them.
    pub(super) fn reading(&self) -> Result<Reading, UsageFault> {
        if let Some(fault) = &self.fault {
            return Err(fault.clone());
        }
        // Each answer has both; a stream without its beginning has told no input, and nothing is not what went in.
        if self.output.is_none() || self.input.or(self.cache_read).or(self.cache_write).is_none() {
            return Err(UsageFault::Empty);
        }
        let zero = |count: Option<u64>| count.unwrap_or(0);
        let output = zero(self.output);
        let thinking = zero(self.thinking).min(output);
        let hour = zero(self.cache_write_1h);
        // What is not told apart lives five minutes.
        let written = zero(self.cache_write).max(zero(self.cache_write_5m) + hour);
        let reading = Reading {
            input: zero(self.input),
            cache_read: zero(self.cache_read),
            cache_write_5m: written - hour,
            cache_write_1h: hour,
            output: output - thinking,
            reasoning: thinking,
            searches: zero(self.searches),
            ..Reading::default()
        };
        let reading = match &self.beside {
            Some(beside) => sum_of(&reading, beside)?,
            None => reading,
        };
        Ok(Reading { reported_cost: self.reported_cost.clone(), ..reading })
    }
}

fn store(slot: &mut Option<u64>, label: &'static str, scan: &mut Scan<'_>, fault: &mut Option<UsageFault>) -> Result<(), Error> {
    match count(scan, label)? {
        Ok(told) => *slot = told.or(*slot),
        Err(found) => *fault = fault.take().or(Some(found)),
    }
    Ok(())
}

fn sum_of(one: &Reading, other: &Reading) -> Result<Reading, UsageFault> {
    let sum = |one: u64, other: u64| match one + other {
        sum if sum <= Reading::MAX_COUNT => Ok(sum),
        _ => Err(UsageFault::Absurd("iterations")),
    };
    Ok(Reading {
        input: sum(one.input, other.input)?,
        cache_read: sum(one.cache_read, other.cache_read)?,
        cache_write_5m: sum(one.cache_write_5m, other.cache_write_5m)?,
        cache_write_1h: sum(one.cache_write_1h, other.cache_write_1h)?,
        output: sum(one.output, other.output)?,
        reasoning: sum(one.reasoning, other.reasoning)?,
        searches: sum(one.searches, other.searches)?,
        ..Reading::default()
    })
}
