//! The real wrapper of NVIDIA's library over a fake one: what is read, what is made of it, and what the programs do.

mod daemon;
mod library;
mod once;
mod watching;
