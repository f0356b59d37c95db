//! `hai nodes cordon`, `uncordon` and `drain`.

use ureq::http::Method;

use super::args::NodesCommand;
use super::client::{Client, encoded};
use super::error::CliError;
use super::output::{Printer, clean};
use super::preview;
use crate::api::wire::{Node, PlannedChange};

/// Says what a node is there for.
///
/// # Errors
/// [`CliError`].
pub(super) fn change(command: &NodesCommand, client: &Client, printer: &Printer) -> Result<(), CliError> {
    let (word, arg, planned): (_, _, fn(_) -> _) = match command {
        NodesCommand::Cordon(arg) => ("cordon", arg, PlannedChange::Cordon),
        NodesCommand::Uncordon(arg) => ("uncordon", arg, PlannedChange::Uncordon),
        NodesCommand::Drain(arg) => ("drain", arg, PlannedChange::Drain),
    };
    if arg.dry_run {
        return preview::dry_change(planned(arg.node.clone()), client, printer);
    }
    let path = format!("/v1/nodes/{}/{word}", encoded(arg.node.as_str()));
    let answer = client.send(&Method::POST, &path, None::<&()>)?;
    if printer.json {
        return printer.answer(&answer);
    }
    let node: Node = answer.parse()?;
    let name = clean(node.name.as_str());
    let many = match node.workers.len() {
        0 => "nothing runs there".to_owned(),
        1 => "1 worker is there".to_owned(),
        many => format!("{many} workers are there"),
    };
    printer.line(match command {
        NodesCommand::Cordon(_) => format!("{name} takes no new work; {many}, and stays"),
        NodesCommand::Drain(_) => format!("{name} takes no new work; {many}, and leaves"),
        NodesCommand::Uncordon(_) => format!("{name} takes work again"),
    })?;
    if matches!(command, NodesCommand::Uncordon(_)) && node.cordoned {
        printer
            .remark("the cluster itself, or its configuration, still says that it is cordoned; look again in a moment");
    }
    Ok(())
}
