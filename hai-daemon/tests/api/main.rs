//! The HTTP API as clients meet it: a real server on a real port, the real engine, a real store.

mod bad_input;
mod client;
mod command;
mod devices;
mod dialect;
mod document;
mod duty;
mod events;
mod history;
mod lab;
mod logs;
mod nodes;
mod orders;
mod past;
mod people;
mod preview;
mod queue;
mod rights;
mod simulations;
mod slow_readers;
mod tasks;
mod teams;
mod timeline;
mod when;
