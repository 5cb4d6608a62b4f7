//! Ceilings of the configuration, each by its name.

/// Bytes of one resource in its binary form. A change set of 50 resources must fit one transaction of the store (1.5 MiB in etcd), with room
/// for the audit entry.
pub const RESOURCE_BYTES: usize = 64 * 1024;

/// API keys: what a proxy holds in about 10 MiB and a store lists in a second.
pub const KEYS: usize = 100_000;

/// Endpoints: what a snapshot compiles to in well under a second.
pub const ENDPOINTS: usize = 10_000;

/// Guardrails of all scopes.
pub const GUARDRAILS: usize = 10_000;

/// Guardrails that name one workspace, one member or one key: every request of a key is held against those of its three scopes.
pub const GUARDRAILS_PER_SCOPE: usize = 8;

/// Bytes of a name.
pub const NAME_BYTES: usize = 128;

/// Labels of one resource.
pub const LABELS: usize = 16;

/// Bytes of a label's key, and of its value.
pub const LABEL_BYTES: usize = 63;

/// Attempts of one request.
pub const ATTEMPTS: u32 = 16;

/// Headers that a provider adds to every request.
pub const PROVIDER_HEADERS: usize = 16;

/// Bytes of one header that a provider adds, name and value together.
pub const PROVIDER_HEADER_BYTES: usize = 4 * 1024;

/// Dangling references for which the nearest name is looked for; each look costs a walk through all names of the kind.
pub const SUGGESTIONS: usize = 16;
