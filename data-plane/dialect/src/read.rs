//! Typed reading on top of the scan: wrong types become faults with a path.

use crate::fault::{Fault, FaultKind};
use crate::fields::{Level, Seen};
use crate::json::{Decimal, Kind, Scan, ScanLimits};
use crate::limits::Limits;

pub(crate) struct Reader<'a> {
    pub scan: Scan<'a>,
    pub limits: &'a Limits,
}

impl<'a> Reader<'a> {
    /// Stands before the body, whose size and characters were checked.
    pub(crate) fn new(body: &'a [u8], limits: &'a Limits) -> Result<Self, Fault> {
        if body.len() > limits.body_bytes {
            let message = format!("the body has {} bytes, the limit is {}", body.len(), limits.body_bytes);
            return Err(Fault::new(FaultKind::TooLarge, "", message));
        }
        if let Err(error) = simdutf8::compat::from_utf8(body) {
            let message = format!("invalid UTF-8 at byte {}", error.valid_up_to());
            return Err(Fault::new(FaultKind::InvalidUtf8, "", message));
        }
        let scan_limits = ScanLimits { depth: limits.json_depth, keys: limits.json_keys };
        Ok(Self { scan: Scan::new(body, scan_limits), limits })
    }

    /// Reads an object of one level; `read` gets each known field that is not `null` and must consume its value.
    pub(crate) fn object<L: Level>(&mut self, path: &str, mut read: impl FnMut(&mut Self, L) -> Result<(), Fault>) -> Result<(), Fault> {
        self.members(path, |reader, field| {
            if reader.scan.peek()? == Kind::Null {
                reader.scan.skip()?;
                return Ok(());
            }
            read(reader, field)
        })
    }

    /// As [`Reader::object`], but `read` gets the fields that are `null`, too.
    pub(crate) fn members<L: Level>(&mut self, path: &str, mut read: impl FnMut(&mut Self, L) -> Result<(), Fault>) -> Result<(), Fault> {
        self.expect(Kind::Object, path, "must be an object")?;
        let mut inside = self.scan.object()?;
        let mut seen = Seen::default();
        while let Some(key) = self.scan.key(&mut inside)? {
            match seen.field::<L>(&key).map_err(|fault| fault.inside(path))? {
                Some(field) => read(self, field).map_err(|fault| locate(fault, path))?,
                None => {
                    self.scan.skip()?;
                }
            }
        }
        Ok(())
    }

    /// Reads an array; `read` must consume each element.
    pub(crate) fn array(&mut self, path: &str, mut read: impl FnMut(&mut Self) -> Result<(), Fault>) -> Result<usize, Fault> {
        self.expect(Kind::Array, path, "must be an array")?;
        let mut inside = self.scan.array()?;
        let mut count = 0;
        while self.scan.element(&mut inside)? {
            read(self).map_err(|fault| locate(locate(fault, &format!("[{count}]")), path))?;
            count += 1;
        }
        Ok(count)
    }

    /// Skips an array and says whether it had an element.
    pub(crate) fn nonempty_array(&mut self, path: &str) -> Result<bool, Fault> {
        let skip = |reader: &mut Self| Ok(reader.scan.skip().map(|_| ())?);
        self.array(path, skip).map(|count| count > 0)
    }

    pub(crate) fn bool(&mut self, path: &str) -> Result<bool, Fault> {
        self.expect(Kind::Bool, path, "must be true or false")?;
        Ok(self.scan.bool()?)
    }

    pub(crate) fn optional_bool(&mut self, path: &str) -> Result<Option<bool>, Fault> {
        if self.scan.peek()? == Kind::Null {
            self.scan.skip()?;
            return Ok(None);
        }
        self.bool(path).map(Some)
    }

    /// A whole number from 0 up, in plain digits.
    pub(crate) fn whole(&mut self, path: &str) -> Result<u64, Fault> {
        self.expect(Kind::Number, path, "must be an integer")?;
        let text = self.scan.number()?;
        text.parse().map_err(|_| {
            let is_integer = !text.contains(['.', 'e', 'E']);
            let kind = if is_integer { FaultKind::InvalidValue } else { FaultKind::WrongType };
            Fault::new(kind, path, "must be an integer from 0 up")
        })
    }

    /// A string that is neither empty nor longer than a name may be.
    pub(crate) fn name(&mut self, path: &str) -> Result<Box<str>, Fault> {
        self.expect(Kind::String, path, "must be a string")?;
        let text = self.scan.string()?;
        if text.raw().is_empty() {
            return Err(invalid(path, "must not be empty"));
        }
        let decoded = text.decode().ok_or_else(|| invalid(path, "holds a surrogate that stands alone"))?;
        if decoded.len() > self.limits.name_bytes {
            return Err(invalid(path, &format!("is longer than {} bytes", self.limits.name_bytes)));
        }
        Ok(decoded.into())
    }

    pub(crate) fn names(&mut self, path: &str) -> Result<Vec<Box<str>>, Fault> {
        let mut names = Vec::new();
        let most = self.limits.list_entries;
        self.array(path, |reader| {
            if names.len() == most {
                return Err(invalid("", &format!("more than {most} entries")));
            }
            names.push(reader.name("")?);
            Ok(())
        })?;
        Ok(names)
    }

    /// A price in USD, as a number or as a string that holds one, in pico-USD.
    pub(crate) fn price(&mut self, path: &str) -> Result<i64, Fault> {
        let text = match self.scan.peek()? {
            Kind::Number => self.scan.number()?.to_owned(),
            Kind::String => self.scan.string()?.decode().unwrap_or_default().into_owned(),
            _ => return Err(wrong_type(path, "must be a price in USD")),
        };
        let decimal = Decimal::parse(&text).map_err(|_| invalid(path, "is no decimal number"))?;
        if decimal.is_negative() {
            return Err(invalid(path, "must not be negative"));
        }
        decimal.to_pico().map_err(|_| invalid(path, "must be a multiple of 10^-12 USD and below 9,223,372"))
    }

    pub(crate) fn expect(&mut self, kind: Kind, path: &str, message: &str) -> Result<(), Fault> {
        if self.scan.peek()? == kind { Ok(()) } else { Err(wrong_type(path, message)) }
    }
}

pub(crate) fn wrong_type(path: &str, message: &str) -> Fault {
    Fault::new(FaultKind::WrongType, path, message)
}

/// Broken JSON is a fault of the whole body; its message has the offset.
pub(crate) fn locate(fault: Fault, outer: &str) -> Fault {
    match fault.kind {
        FaultKind::InvalidJson | FaultKind::TooDeep | FaultKind::TooManyKeys => fault,
        _ => fault.inside(outer),
    }
}

pub(crate) fn invalid(path: &str, message: &str) -> Fault {
    Fault::new(FaultKind::InvalidValue, path, message)
}

pub(crate) fn unsupported(path: &str, message: &str) -> Fault {
    Fault::new(FaultKind::Unsupported, path, message)
}
