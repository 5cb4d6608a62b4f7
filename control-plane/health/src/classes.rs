//! Which ends of attempts say something of an endpoint.

use waybill_proto::sync::v1::ErrorClass;

/// Numbers of error classes, from 0.
pub const CLASSES: usize = ErrorClass::Caller as usize + 1;

/// What an end says of its endpoint.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub enum Says {
    /// It serves.
    Good,
    /// It does not.
    Bad,
    /// Nothing: a limit of the account, which is capacity, or a fault of the caller; or a class that this build does not know.
    Nothing,
}

/// What the end of a class says.
pub const fn says(class: ErrorClass) -> Says {
    match class {
        ErrorClass::None => Says::Good,
        ErrorClass::Unspecified | ErrorClass::RateLimited | ErrorClass::Caller => Says::Nothing,
        ErrorClass::Connect
        | ErrorClass::FirstToken
        | ErrorClass::Stall
        | ErrorClass::Server
        | ErrorClass::Overloaded
        | ErrorClass::Credential
        | ErrorClass::NotServed
        | ErrorClass::Malformed
        | ErrorClass::Cut
        | ErrorClass::Empty => Says::Bad,
    }
}
