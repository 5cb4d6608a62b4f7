//! Whether a proxy recognises the API keys that this control plane makes. Pure.

use waybill_proto::sync::v1::PepperPrint;

use crate::Refusal;

/// A pepper's number stands for one pepper everywhere. A proxy that lacks one of ours recognises the keys of the others: during a change of
/// peppers that is as it should be, as long as there are others. One that says nothing of its peppers is of an older build.
///
/// # Errors
/// It would refuse keys that are good.
pub fn judge(ours: &[PepperPrint], theirs: &[PepperPrint]) -> Result<(), Refusal> {
    if ours.is_empty() || theirs.is_empty() {
        return Ok(());
    }
    let same_number = |own: &PepperPrint| theirs.iter().find(|other| other.id == own.id);
    if let Some(own) = ours.iter().find(|own| same_number(own).is_some_and(|other| other.fingerprint != own.fingerprint)) {
        return Err(Refusal::Pepper { id: own.id });
    }
    match ours.iter().find(|own| same_number(own).is_none()) {
        Some(own) if ours.iter().all(|own| same_number(own).is_none()) => Err(Refusal::Pepper { id: own.id }),
        _ => Ok(()),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_proxy_is_refused_if_it_has_another_pepper_of_a_number_or_none_of_ours() {
        // Each pepper as its number and its fingerprint.
        type Row = (&'static [(u32, u8)], &'static [(u32, u8)], Option<u32>);
        let rows: [Row; 8] = [
            (&[(1, 7)], &[(1, 7)], None),
            (&[(1, 7)], &[(1, 8)], Some(1)),
            (&[(2, 9), (1, 7)], &[(1, 7)], None),
            (&[(1, 7)], &[(2, 9), (1, 7)], None),
            (&[(2, 9), (1, 7)], &[(2, 9), (1, 8)], Some(1)),
            (&[(2, 9)], &[(1, 7)], Some(2)),
            (&[(1, 7)], &[], None),
            (&[], &[(1, 7)], None),
        ];
        let prints = |peppers: &[(u32, u8)]| -> Vec<PepperPrint> {
            peppers.iter().map(|(id, print)| PepperPrint { id: *id, fingerprint: vec![*print; 8].into() }).collect()
        };
        for (ours, theirs, refused) in rows {
            let expected = refused.map_or(Ok(()), |id| Err(Refusal::Pepper { id }));
            assert_eq!(judge(&prints(ours), &prints(theirs)), expected, "{ours:?} {theirs:?}");
        }
    }
}
