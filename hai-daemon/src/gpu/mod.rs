//! What is known of this machine's GPUs.

pub mod nvml;
