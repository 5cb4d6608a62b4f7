//! Prices every event again and lists what differs. Pure: the database gives the events.

use std::collections::HashMap;

use prost::Message;
use waybill_model::price::Tariff;
use waybill_proto::{admin::v1::RecomputeResponse, usage::v1::Event};

use crate::{
    audit::{attempt_text, listed, name},
    contract::Prices,
    reprice::{Repriced, reprice},
};

/// A pass over all events.
pub struct Recount<'a> {
    price: &'a Prices<'a>,
    tariffs: HashMap<String, Option<Tariff>>,
    answer: RecomputeResponse,
    differences: Vec<String>,
}

impl<'a> Recount<'a> {
    pub fn begin(price: &'a Prices<'a>) -> Self {
        Self { price, tariffs: HashMap::new(), answer: RecomputeResponse::default(), differences: Vec::new() }
    }

    /// One event, by the bits of its identity.
    pub fn event(&mut self, incarnation: i64, sequence: i64, payload: &[u8]) {
        self.answer.events += 1;
        let Ok(event) = Event::decode(payload) else {
            self.differences.push(format!("{}: the payload cannot be decoded", name(incarnation, sequence)));
            return;
        };
        let version = event.attempt.as_ref().map_or("", |attempt| &attempt.price_version);
        if !self.tariffs.contains_key(version) {
            self.tariffs.insert(version.to_owned(), if version.is_empty() { None } else { (self.price)(version) });
        }
        match reprice(&event, self.tariffs.get(version).and_then(Option::as_ref)) {
            Repriced::Same => {}
            Repriced::Unpriced => self.answer.unpriced += 1,
            Repriced::Different(all) => {
                let name = format!("{}, {}", name(incarnation, sequence), attempt_text(&event));
                self.differences.extend(all.into_iter().map(|difference| format!("{name}: {difference}")));
            }
        }
    }

    pub fn finish(self) -> RecomputeResponse {
        RecomputeResponse { differences: listed(self.differences), ..self.answer }
    }
}
