//! The API of role Commands.
pub mod bodies;
pub mod fields;
