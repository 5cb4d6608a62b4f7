//! See the README of the plane.
