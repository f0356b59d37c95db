//! What is known of GPUs: which there are, how they are, and who uses them.
//!
//! See [`watching::start`] for the primary entry point: one thread that reads NVML ([`nvml`]) into a [`reading`], asks
//! [`health`] what it means and [`strangers`] whose the processes are, and shows a [`report`]. A daemon keeps the last one of each node in [`reports`]. [`xid`] knows NVIDIA's error
//! numbers; [`past`] remembers how devices were used.

pub mod health;
mod links;
pub mod nvml;
pub mod observer;
pub mod past;
pub mod reading;
pub mod report;
pub mod reports;
pub mod strangers;
pub mod watching;
pub mod xid;
