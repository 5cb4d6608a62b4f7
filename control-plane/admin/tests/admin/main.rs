//! The admin surface, through its public face.

mod apply;
mod keys;
mod rollout;
mod sample;
mod sets;
mod wire;
