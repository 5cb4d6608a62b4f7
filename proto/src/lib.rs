//! The contract: generated types of everything that both planes and operators say to each other.
//!
//! # Layout
//! - [`model`]: resources. [`usage`]: intents, events, decisions. [`sync`]: configuration push. [`admin`]: the operators' gRPC surface.
//! - [`DESCRIPTORS`]: the encoded `FileDescriptorSet`, for reflection.
//!
//! JSON of these types is proto3's canonical JSON (pbjson): camelCase, unknown fields refused by name.

/// Encoded `google.protobuf.FileDescriptorSet` of all files, with imports.
pub const DESCRIPTORS: &[u8] = include_bytes!(concat!(env!("OUT_DIR"), "/descriptors.bin"));

macro_rules! package {
    ($name:ident, $package:literal) => {
        #[allow(missing_docs, clippy::all, clippy::pedantic)]
        pub mod $name {
            pub mod v1 {
                include!(concat!(env!("OUT_DIR"), "/", $package, ".rs"));
                include!(concat!(env!("OUT_DIR"), "/", $package, ".serde.rs"));
            }
        }
    };
}

package!(model, "waybill.model.v1");
package!(usage, "waybill.usage.v1");
package!(sync, "waybill.sync.v1");
package!(admin, "waybill.admin.v1");
