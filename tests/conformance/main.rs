//! What the tree promises about itself, checked from the manifests and the source.

mod imports;
mod source;
