//! Amounts and numbers as people say them.

pub(crate) use super::nodes::{cores, memory};
pub(crate) use super::right::charge;
pub(crate) use super::who::count;
