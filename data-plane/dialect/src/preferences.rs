//! The `provider` object. It is the gateway's own, so an unknown member is refused: a misspelt restriction must
//! not be taken for none.

use crate::call::{DataCollection, MaxPrice, ProviderPreferences, Sort};
use crate::fault::Fault;
use crate::fields::{Level, Seen, level};
use crate::json::Kind;
use crate::read::{Reader, invalid, locate, unsupported, wrong_type};

level! {
    Provider {
        Order = "order", Only = "only", Ignore = "ignore", AllowFallbacks = "allow_fallbacks",
        RequireParameters = "require_parameters", MaxPrice = "max_price", Sort = "sort",
        DataCollection = "data_collection", Zdr = "zdr", Quantizations = "quantizations",
        EnforceDistillableText = "enforce_distillable_text",
    }
}

level! {
    PriceLimit { Prompt = "prompt", Completion = "completion", Request = "request", }
}

level! {
    SortBy { By = "by", Partition = "partition", }
}

/// OpenRouter's closed list of weight formats.
const QUANTIZATIONS: &[&str] = &["int4", "int8", "fp4", "mxfp4", "nvfp4", "fp6", "fp8", "mxfp8", "fp16", "bf16", "fp32", "unknown"];

pub(crate) fn read(reader: &mut Reader<'_>) -> Result<ProviderPreferences, Fault> {
    let mut preferences = ProviderPreferences::default();
    own_object::<Provider>(reader, "provider", |reader, field| member(reader, field, &mut preferences))?;
    Ok(preferences)
}

fn member(reader: &mut Reader<'_>, field: Provider, preferences: &mut ProviderPreferences) -> Result<(), Fault> {
    use Provider as P;
    match field {
        P::Order => preferences.order = reader.names("order")?,
        P::Only => preferences.only = reader.names("only")?,
        P::Ignore => preferences.ignore = reader.names("ignore")?,
        P::AllowFallbacks => preferences.allow_fallbacks = reader.bool("allow_fallbacks")?,
        P::RequireParameters => preferences.require_parameters = reader.bool("require_parameters")?,
        P::MaxPrice => preferences.max_price = max_price(reader)?,
        P::Sort => preferences.sort = sort(reader)?,
        P::DataCollection => {
            preferences.data_collection = Some(match &*reader.name("data_collection")? {
                "allow" => DataCollection::Allow,
                "deny" => DataCollection::Deny,
                _ => return Err(invalid("data_collection", "must be \"allow\" or \"deny\"")),
            });
        }
        P::Zdr => preferences.zdr = reader.bool("zdr")?,
        P::Quantizations => {
            preferences.quantizations = reader.names("quantizations")?;
            let unknown = preferences.quantizations.iter().position(|name| !QUANTIZATIONS.contains(&&**name));
            if let Some(at) = unknown {
                return Err(invalid(&format!("quantizations[{at}]"), "is no known quantization"));
            }
        }
        P::EnforceDistillableText => {
            if reader.bool("enforce_distillable_text")? {
                return Err(unsupported("enforce_distillable_text", "this gateway cannot enforce it"));
            }
        }
    }
    Ok(())
}

fn max_price(reader: &mut Reader<'_>) -> Result<MaxPrice, Fault> {
    let mut most = MaxPrice::default();
    own_object::<PriceLimit>(reader, "max_price", |reader, field| {
        match field {
            PriceLimit::Prompt => most.prompt = Some(reader.price("prompt")?),
            PriceLimit::Completion => most.completion = Some(reader.price("completion")?),
            PriceLimit::Request => most.request = Some(reader.price("request")?),
        }
        Ok(())
    })?;
    Ok(most)
}

fn sort(reader: &mut Reader<'_>) -> Result<Option<Sort>, Fault> {
    match reader.scan.peek()? {
        Kind::String => sort_name(reader, "sort").map(Some),
        Kind::Object => {
            let mut sort = None;
            own_object::<SortBy>(reader, "sort", |reader, field| {
                match field {
                    SortBy::By => sort = Some(sort_name(reader, "by")?),
                    SortBy::Partition => {
                        if &*reader.name("partition")? != "model" {
                            return Err(unsupported("partition", "only \"model\" is known"));
                        }
                    }
                }
                Ok(())
            })?;
            Ok(sort)
        }
        _ => Err(wrong_type("sort", "must be a string or an object")),
    }
}

fn sort_name(reader: &mut Reader<'_>, path: &str) -> Result<Sort, Fault> {
    match &*reader.name(path)? {
        "price" => Ok(Sort::Price),
        "throughput" => Ok(Sort::Throughput),
        "latency" => Ok(Sort::Latency),
        _ => Err(unsupported(path, "must be \"price\", \"throughput\" or \"latency\"")),
    }
}

/// As [`Reader::object`], but unknown members are refused unless they are `null`.
fn own_object<L: Level>(
    reader: &mut Reader<'_>,
    path: &str,
    mut read: impl FnMut(&mut Reader<'_>, L) -> Result<(), Fault>,
) -> Result<(), Fault> {
    reader.expect(Kind::Object, path, "must be an object")?;
    let mut inside = reader.scan.object()?;
    let mut seen = Seen::default();
    while let Some(key) = reader.scan.key(&mut inside)? {
        let field = seen.field::<L>(&key).map_err(|fault| fault.inside(path))?;
        if reader.scan.peek()? == Kind::Null {
            reader.scan.skip()?;
            continue;
        }
        let Some(field) = field else {
            let name = key.decode().unwrap_or_default();
            return Err(unsupported(&format!("{path}.{name}"), "is not known to this gateway"));
        };
        read(reader, field).map_err(|fault| locate(fault, path))?;
    }
    Ok(())
}

#[cfg(test)]
pub(crate) mod tests {
    use super::*;
    use crate::fields::tests::{check, spellings};

    /// The levels of this object, with the JSON around each of their members.
    pub(crate) fn levels() -> Vec<(&'static str, Vec<&'static str>)> {
        vec![
            (r#""provider":{%}"#, spellings::<Provider>()),
            (r#""provider":{"max_price":{%}}"#, spellings::<PriceLimit>()),
            (r#""provider":{"sort":{%}}"#, spellings::<SortBy>()),
        ]
    }

    #[test]
    fn the_level_fits_its_set_and_finds_each_of_its_names() {
        check::<Provider>();
    }
}
