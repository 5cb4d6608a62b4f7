//! Prices an event again and checks its arithmetic. Pure.

use waybill_model::{
    meter::{Meter, Quantities},
    price::{Tariff, line},
};
use waybill_proto::usage::v1::{Event, Kind, Line, Source};

/// What pricing an event again has shown.
#[derive(Clone, Debug, Eq, PartialEq)]
pub enum Repriced {
    /// The same to the pico-dollar.
    Same,
    /// It has no price version, and no amount.
    Unpriced,
    /// In what it differs.
    Different(Vec<String>),
}

/// Checks an event against itself: each line is quantity × rate rounded half to even, and the amount is the sum of the lines.
#[must_use]
pub fn arithmetic(event: &Event) -> Vec<String> {
    if stands_alone(event) {
        return Vec::new();
    }
    let mut faults = Vec::new();
    for billed in lines(event) {
        // The meter has no part in the product, so that an unknown one can be checked too.
        let exact = line(Meter::Input, "", 0, billed.quantity, billed.rate_picousd).amount.0;
        if exact != billed.amount_picousd {
            let Line { meter, quantity, rate_picousd, amount_picousd, .. } = billed;
            faults.push(format!("line {meter}: {quantity} × {rate_picousd} ÷ 1,000,000 is {exact}, not {amount_picousd}"));
        }
    }
    faults.extend(wrong_amount(event, lines(event).iter().map(|line| i128::from(line.amount_picousd)).sum()));
    faults
}

/// Prices an event again from the tariff of its price version; `None` = nobody knows that version.
#[must_use]
pub fn reprice(event: &Event, tariff: Option<&Tariff>) -> Repriced {
    let version = event.attempt.as_ref().map_or("", |attempt| &attempt.price_version);
    if stands_alone(event) {
        return Repriced::Same;
    }
    if version.is_empty() {
        return match event.amount_picousd {
            0 => Repriced::Unpriced,
            amount => Repriced::Different(vec![format!("it has no price version and an amount of {amount}")]),
        };
    }
    let Some(tariff) = tariff else {
        return Repriced::Different(vec![format!("price version {version} is unknown")]);
    };
    let differences = if event.kind() == Kind::Orphaned { reprice_bound(event, tariff) } else { reprice_usage(event, tariff) };
    if differences.is_empty() { Repriced::Same } else { Repriced::Different(differences) }
}

/// An amount that an operator took from the provider's own record has no quantities, so there is nothing to multiply. `closed` has no amount.
fn stands_alone(event: &Event) -> bool {
    match event.kind() {
        Kind::Adjusted => event.source() == Source::Operator && event.lines.is_empty(),
        Kind::Closed => true,
        _ => false,
    }
}

/// The lines that make the amount: of an orphaned event those of the intent's bound, which it need not repeat.
fn lines(event: &Event) -> &[Line] {
    match &event.attempt {
        Some(attempt) if event.kind() == Kind::Orphaned && event.lines.is_empty() => &attempt.bound,
        _ => &event.lines,
    }
}

fn reprice_usage(event: &Event, tariff: &Tariff) -> Vec<String> {
    let mut differences = Vec::new();
    let mut quantities = Quantities::default();
    for billed in lines(event) {
        match billed.meter.parse::<Meter>() {
            Ok(meter) => quantities.set(meter, quantities.get(meter).saturating_add(billed.quantity)),
            Err(unknown) => differences.push(unknown.to_string()),
        }
    }
    // A line names the tier of the rate that was applied, which is standard where the tier has no rate of its own.
    let tier = lines(event).iter().map(|line| line.tier.as_str()).find(|tier| !tier.is_empty()).unwrap_or("");
    let bill = tariff.price(&quantities, tier);
    let mut unmatched: Vec<&Line> = lines(event).iter().filter(|line| line.quantity > 0 || line.amount_picousd != 0).collect();
    for priced in &bill.lines {
        match unmatched.iter().position(|line| same(line, priced)) {
            Some(position) => drop(unmatched.swap_remove(position)),
            None => differences.push(format!(
                "the price version gives {}: {} × {} = {}",
                place(priced.meter.name(), &priced.tier, priced.above_input_tokens),
                priced.quantity,
                priced.rate_picousd,
                priced.amount
            )),
        }
    }
    differences.extend(unmatched.into_iter().map(|line| {
        let place = place(&line.meter, &line.tier, line.above_input_tokens);
        format!("the event has {place}: {} × {} = {}", line.quantity, line.rate_picousd, line.amount_picousd)
    }));
    differences.extend(wrong_amount(event, i128::from(bill.total.0)));
    differences
}

/// A bound names its rates itself (the dearest that could be reached), so each is looked up in its own place.
fn reprice_bound(event: &Event, tariff: &Tariff) -> Vec<String> {
    let mut differences = Vec::new();
    let mut total = 0_i128;
    for bound in lines(event) {
        let place = place(&bound.meter, &bound.tier, bound.above_input_tokens);
        let rate = tariff.rates().iter().find(|rate| {
            rate.meter.name() == bound.meter && *rate.tier == *bound.tier && rate.above_input_tokens == bound.above_input_tokens
        });
        let Some(rate) = rate else {
            differences.push(format!("the price version has no rate for {place}"));
            continue;
        };
        let priced = line(rate.meter, &rate.tier, rate.above_input_tokens, bound.quantity, rate.picousd_per_million);
        total += i128::from(priced.amount.0);
        if !same(bound, &priced) {
            let (has, gives) = (bound.amount_picousd, priced.amount);
            differences.push(format!(
                "{place}: the event has {} × {} = {has}, the price version gives {gives}",
                bound.quantity, bound.rate_picousd
            ));
        }
    }
    let reservation = event.attempt.as_ref().map_or(0, |attempt| attempt.reservation_picousd);
    if event.amount_picousd != reservation {
        differences.push(format!("the amount is {}, the reservation was {reservation}", event.amount_picousd));
    }
    differences.extend(wrong_amount(event, total));
    differences
}

/// A partial amount may be capped at the reservation; all others are the sum of their lines, at most what 64 bits hold.
fn wrong_amount(event: &Event, sum: i128) -> Option<String> {
    let reservation = event.attempt.as_ref().map_or(i128::MAX, |attempt| i128::from(attempt.reservation_picousd));
    let amount = i128::from(event.amount_picousd);
    let sum = sum.min(i128::from(i64::MAX));
    let right = amount == sum || (event.kind() == Kind::Partial && amount == sum.min(reservation));
    (!right).then(|| format!("the amount is {amount}, the lines make {sum}"))
}

fn same(billed: &Line, priced: &waybill_model::price::Line) -> bool {
    billed.meter == priced.meter.name()
        && *billed.tier == *priced.tier
        && billed.above_input_tokens == priced.above_input_tokens
        && billed.quantity == priced.quantity
        && billed.rate_picousd == priced.rate_picousd
        && billed.amount_picousd == priced.amount.0
}

fn place(meter: &str, tier: &str, above_input_tokens: u64) -> String {
    let tier = if tier.is_empty() { "standard" } else { tier };
    format!("{meter} ({tier}, above {above_input_tokens} input tokens)")
}
