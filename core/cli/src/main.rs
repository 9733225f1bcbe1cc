//! The wakeline program: phone, call, gateway, relay, doctor, demo.
//!
//! In: a command line, the environment, files. Out: a phone for people (terminal), for programs (JSON lines) or for one
//! call; the push gateway; the demonstration of a push-woken call. What the parts do is decided in `engine` and
//! `gateway`; here it is started, shown and told to stop.
//!
//! Never: a secret on the screen or in a log.

#![allow(clippy::print_stdout, clippy::print_stderr, reason = "a program for the terminal speaks there")]

mod accounts;
mod arguments;
mod call;
mod control;
mod demo;
mod doctor;
mod exit;
mod gateway;
mod gateway_init;
mod log;
mod phone;
mod provision;
mod random;
mod relay;
mod terminal;

use std::process::ExitCode;

use crate::arguments::Task;
use crate::exit::Exit;

fn main() -> ExitCode {
    // The first thing a woken phone does: its timeline begins here.
    let started = wakeline_clock::system::now();
    let arguments = match arguments::read(std::env::args_os().skip(1)) {
        Ok(arguments) => arguments,
        Err(stop) => return stop.show(),
    };
    let exit = match arguments.task {
        Task::Phone(flags) => phone::run(&flags, &arguments.parameters, started),
        Task::Call(flags) => call::run(&flags, &arguments.parameters),
        Task::Provision(flags) => provision::run(&flags),
        Task::Gateway(flags) => gateway::run(&flags),
        Task::Relay(flags) => relay::run(&flags),
        Task::Doctor(flags) => doctor::run(&flags),
        Task::Demo(flags) => demo::run(&flags),
    };
    exit.unwrap_or_else(|error| {
        eprintln!("wakeline: {error}");
        error.exit()
    })
    .into()
}

/// Runs a task on the event loop of this thread.
fn block_on<T>(task: impl Future<Output = T>) -> Result<T, exit::Failure> {
    let runtime = tokio::runtime::Builder::new_current_thread()
        .enable_all()
        .build()
        .map_err(|error| exit::Failure::new(Exit::Failed, format!("no event loop: {error}")))?;
    let result = runtime.block_on(task);
    // A thread that waits for standard input cannot be woken; the process is about to end anyway.
    runtime.shutdown_background();
    Ok(result)
}
