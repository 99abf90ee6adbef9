//! Each test is one semantic of a real API server that the sandbox claims to have.

mod authentication;
mod faults;
mod lab;
mod openshift;
mod operators;
mod policies;
mod rights;
mod secrets;
mod server;
mod tokens;
