//! What all proxies are advised of the endpoints' health, and for how long. Pure.

use waybill_proto::sync::v1::Advice;

/// The newest advice.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct Advised {
    advice: Advice,
    until_ms: u64,
}

impl Advised {
    /// Advice that was given now.
    pub fn new(advice: Advice, now_ms: u64) -> Self {
        Self { until_ms: now_ms.saturating_add(advice.ttl_ms), advice }
    }

    /// What is left to say of it; `None` if it has expired.
    pub fn at(&self, now_ms: u64) -> Option<Advice> {
        let ttl_ms = self.until_ms.saturating_sub(now_ms);
        (ttl_ms > 0).then(|| Advice { ttl_ms, endpoints: self.advice.endpoints.clone() })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn advice_is_passed_on_with_the_time_that_is_left() {
        let advised = Advised::new(Advice { ttl_ms: 30, ..Advice::default() }, 100);
        for (now_ms, left) in [(100, Some(30)), (129, Some(1)), (130, None), (200, None)] {
            assert_eq!(advised.at(now_ms).map(|advice| advice.ttl_ms), left, "{now_ms}");
        }
        assert_eq!(Advised::default().at(0), None);
    }
}
