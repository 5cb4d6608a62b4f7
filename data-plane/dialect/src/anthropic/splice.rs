//! The request towards a provider: the caller's own bytes, with only those spans exchanged that must be.

use bytes::Bytes;

use super::fields::{Field, GATEWAY_ONLY, NEVER_FORWARDED};
use crate::body::Body;
use crate::call::Call;
use crate::places::Splicer;
use crate::target::Target;

/// Whether a rewrite may change this member.
pub(super) fn may_change(field: Field) -> bool {
    field == Field::Model || GATEWAY_ONLY.contains(&field)
}

/// The request as `target` is to get it: its model named, the gateway's fields cut. Usage needs no asking here, and
/// the caller always sets a maximum. `body` is the one that `call` was read from.
pub fn rewrite(body: &Bytes, call: &Call, target: &Target<'_>) -> Body {
    let mut splicer = Splicer::new(body, &call.places);
    splicer.set_string(Field::Model, "model", target.provider_model);
    splicer.cut_each(if target.drop_gateway_fields { GATEWAY_ONLY } else { NEVER_FORWARDED });
    splicer.finish()
}
