//! What the tree promises about itself, checked from the manifests, the source and the samples.

mod imports;
mod samples;
mod source;
