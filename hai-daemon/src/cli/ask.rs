//! What `hai submit` asks for: flags for devices, for places and for a task's life, and what they put into a submission.

use std::collections::BTreeMap;

use chrono::{DateTime, TimeDelta, Utc};
use clap::Args;
use hai_core::model::{Amount, ComputeCapability, MigProfile, ModelName, PlaceName, Span, TaskId};

use crate::api::wire::{Grace, KindWord, Retries, SubmitRequest};
use crate::config::{Cores, Mib, Raw, Setting};

/// How much of the machines each worker takes, and of which.
#[derive(Clone, Debug, Args)]
#[command(next_help_heading = "Devices and machines")]
pub struct DeviceArgs {
    /// Whole devices for each worker; 0 for work on processors alone
    #[arg(long, short, value_name = "COUNT", value_parser = whole_devices)]
    pub devices: Option<u32>,
    /// A part of one device for each worker, e.g. 0.25; others may have the rest of it
    #[arg(long, value_name = "PART", value_parser = share, conflicts_with_all = ["devices", "share_memory", "whole_node"])]
    pub share: Option<Amount>,
    /// So much memory of one device for each worker, e.g. 6GiB; others may have the rest of it
    #[arg(long, value_name = "SIZE", value_parser = mib, conflicts_with_all = ["devices", "whole_node"])]
    pub share_memory: Option<u64>,
    /// Each worker takes a whole node with everything on it
    #[arg(long, conflicts_with = "devices")]
    pub whole_node: bool,
    /// Workers, which start together or not at all; with --workers-min, the most
    #[arg(long, short, value_name = "COUNT")]
    pub workers: Option<u32>,
    /// The least workers that are worth a start; it takes up to --workers as there is room
    #[arg(long, value_name = "COUNT")]
    pub workers_min: Option<u32>,
    /// A device model that will do, e.g. "RTX 3070"; may be repeated, the preferred first
    #[arg(long, short, value_name = "MODEL")]
    pub model: Vec<ModelName>,
    /// A device model that will not do; may be repeated
    #[arg(long, value_name = "MODEL")]
    pub not_model: Vec<ModelName>,
    /// All devices of all workers of one model, whichever that is
    #[arg(long)]
    pub same_model: bool,
    /// The least memory that each device has in all, e.g. 8GiB
    #[arg(long, value_name = "SIZE", value_parser = mib)]
    pub device_memory: Option<u64>,
    /// Slices of GPUs with this MIG profile, e.g. 1g.5gb; whole GPUs when left out
    #[arg(long, value_name = "PROFILE")]
    pub mig: Option<MigProfile>,
    /// The least compute capability of each device, e.g. 8.0
    #[arg(long, value_name = "X.Y")]
    pub compute_capability: Option<ComputeCapability>,
    /// Processor cores for each worker, e.g. 4 or 0.5
    #[arg(long, short, value_name = "CORES", value_parser = cores)]
    pub cpu: Option<f64>,
    /// Memory for each worker, e.g. 16GiB
    #[arg(long, value_name = "SIZE", value_parser = mib)]
    pub memory: Option<u64>,
}

/// Where the workers may be.
#[derive(Clone, Debug, Args)]
#[command(next_help_heading = "Places")]
pub struct PlaceArgs {
    /// No two workers on one node
    #[arg(long)]
    pub distinct_nodes: bool,
    /// Workers on as many nodes as can be, where there is a choice; close together when left out
    #[arg(long)]
    pub spread: bool,
    /// All workers under one leaf switch
    #[arg(long)]
    pub one_leaf: bool,
    /// All workers in one zone
    #[arg(long)]
    pub one_zone: bool,
    /// A zone that will do; may be repeated
    #[arg(long, value_name = "ZONE")]
    pub zone: Vec<PlaceName>,
    /// A label that every node must carry; may be repeated
    #[arg(long, value_name = "NAME=VALUE", value_parser = label)]
    pub label: Vec<(String, String)>,
    /// A taint of nodes that it does not mind; may be repeated
    #[arg(long, value_name = "TAINT")]
    pub tolerate: Vec<String>,
}

/// What kind of work it is, when it runs, and what happens to it.
#[derive(Clone, Debug, Args)]
#[command(next_help_heading = "Life")]
pub struct LifeArgs {
    /// training runs until it is done; interactive keeps its place for a lease; background takes what nobody else wants
    #[arg(
        long,
        value_enum,
        default_value = "training",
        hide_possible_values = true,
        requires_if("interactive", "lease")
    )]
    pub kind: KindWord,
    /// How long interactive work keeps its place, e.g. 4h; then it is stopped
    #[arg(long, value_name = "TIME", requires = "kind")]
    pub lease: Option<Span>,
    /// Suspend interactive work once its devices were idle for so long, e.g. 30m; never when left out
    #[arg(long, value_name = "TIME", requires = "kind")]
    pub idle_after: Option<Span>,
    /// It can not be suspended: it starts only where nobody better has to wait for it (a --limit helps)
    #[arg(long)]
    pub not_suspendable: bool,
    /// How long you think it runs, e.g. 90m; never enforced, but a good guess may start it sooner
    #[arg(long, value_name = "TIME")]
    pub expected: Option<Span>,
    /// How long it may run at most, all runs together, e.g. 2d; then it is stopped, and has failed
    #[arg(long, value_name = "TIME")]
    pub limit: Option<Span>,
    /// When you need it: a time, or how long from now; only the order by deadline looks at it
    #[arg(long, value_name = "WHEN", value_parser = when)]
    pub deadline: Option<When>,
    /// Do not start before: a time (2026-12-01T09:00:00Z), or how long from now (12h)
    #[arg(long, value_name = "WHEN", value_parser = when)]
    pub not_before: Option<When>,
    /// Start once these tasks have succeeded, with commas; if one fails, so does this
    #[arg(long, value_name = "TASKS", value_delimiter = ',')]
    pub after: Vec<u64>,
    /// Start once these tasks are over, however they ended
    #[arg(long, value_name = "TASKS", value_delimiter = ',')]
    pub after_any: Vec<u64>,
    /// Try again so many times if it fails
    #[arg(long, value_name = "COUNT")]
    pub retries: Option<u32>,
    /// How long to wait after the first failure, doubled with each; 10s when left out
    #[arg(long, value_name = "TIME", requires = "retries")]
    pub retry_back_off: Option<Span>,
    /// Try again on the nodes where it failed too; they are left aside otherwise, as long as there are others
    #[arg(long, requires = "retries")]
    pub retry_anywhere: bool,
    /// What starting it again costs, e.g. 5m: the more, the less it is chosen to be suspended
    #[arg(long, value_name = "TIME")]
    pub restart_cost: Option<Span>,
    /// How often it saves its work without being told, e.g. 10m
    #[arg(long, value_name = "TIME")]
    pub checkpoint_every: Option<Span>,
    /// How long it has to answer the suspend signal, e.g. 5s
    #[arg(long, value_name = "TIME")]
    pub grace_answer: Option<Span>,
    /// How long it has from then on to save and leave, e.g. 30s
    #[arg(long, value_name = "TIME")]
    pub grace_finish: Option<Span>,
}

/// A point in time as it is typed.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum When {
    /// Then.
    At(DateTime<Utc>),
    /// So long from now.
    In(Span),
}

impl DeviceArgs {
    pub(super) fn fill(&self, request: &mut SubmitRequest) {
        request.devices = self.devices;
        request.share = self.share;
        request.share_memory_mib = self.share_memory;
        request.whole_node = self.whole_node;
        request.workers = self.workers;
        request.workers_min = self.workers_min;
        request.models.clone_from(&self.model);
        request.forbidden_models = self.not_model.iter().cloned().collect();
        request.same_model = self.same_model;
        request.device_memory_mib = self.device_memory;
        request.mig_profile.clone_from(&self.mig);
        request.compute_capability = self.compute_capability;
        request.cpu = self.cpu;
        request.memory_mib = self.memory;
    }
}

impl PlaceArgs {
    pub(super) fn fill(&self, request: &mut SubmitRequest) {
        request.distinct_nodes = self.distinct_nodes;
        request.spread = self.spread;
        request.one_leaf = self.one_leaf;
        request.one_zone = self.one_zone;
        request.zones = self.zone.iter().cloned().collect();
        request.labels = self.label.iter().cloned().collect::<BTreeMap<_, _>>();
        request.tolerates = self.tolerate.iter().cloned().collect();
    }
}

impl LifeArgs {
    pub(super) fn fill(&self, request: &mut SubmitRequest, now: DateTime<Utc>) {
        request.kind = self.kind;
        request.lease = self.lease;
        request.idle_after = self.idle_after;
        request.suspendable = self.not_suspendable.then_some(false);
        request.expected = self.expected;
        request.limit = self.limit;
        request.deadline = self.deadline.map(|when| when.from(now));
        request.not_before = self.not_before.map(|when| when.from(now));
        request.after = self.after.iter().copied().map(TaskId).collect();
        request.after_any = self.after_any.iter().copied().map(TaskId).collect();
        request.retries = self.retries.map(|limit| Retries {
            limit,
            back_off: self.retry_back_off.unwrap_or_else(Retries::default_back_off),
            avoid_nodes: !self.retry_anywhere,
        });
        request.restart_cost = self.restart_cost;
        request.checkpoint_every = self.checkpoint_every;
        request.grace = (self.grace_answer.is_some() || self.grace_finish.is_some()).then(|| {
            let default = Grace::default();
            Grace {
                answer: self.grace_answer.unwrap_or(default.answer),
                finish: self.grace_finish.unwrap_or(default.finish),
            }
        });
    }
}

impl When {
    /// The point in time that it names.
    #[must_use]
    pub fn from(self, now: DateTime<Utc>) -> DateTime<Utc> {
        match self {
            When::At(time) => time,
            When::In(span) => {
                let delta = i64::try_from(span.as_ms()).ok().and_then(TimeDelta::try_milliseconds);
                delta.and_then(|delta| now.checked_add_signed(delta)).unwrap_or(DateTime::<Utc>::MAX_UTC)
            }
        }
    }
}

/// `2026-12-01T09:00:00Z`, or `12h` from now.
pub(super) fn when(text: &str) -> Result<When, String> {
    if let Ok(span) = text.parse() {
        return Ok(When::In(span));
    }
    DateTime::parse_from_rfc3339(text).map(|time| When::At(time.to_utc())).map_err(|_| {
        "write a time with its zone, e.g. 2026-12-01T09:00:00Z or 2026-12-01T09:00:00+01:00, or how long from now, \
         e.g. 12h"
            .to_owned()
    })
}

fn whole_devices(text: &str) -> Result<u32, String> {
    text.parse().map_err(|_| match share(text) {
        Ok(part) => format!("whole devices are counted; for a part of one write --share {part}"),
        Err(_) => "write a whole number, e.g. 2".to_owned(),
    })
}

fn share(text: &str) -> Result<Amount, String> {
    let part = serde_json::from_str::<Amount>(text).ok();
    part.filter(|part| !part.is_zero() && *part <= Amount::whole(1))
        .ok_or_else(|| "a part is a number above 0 and at most 1 with at most three decimals, e.g. 0.25".to_owned())
}

fn mib(text: &str) -> Result<u64, String> {
    Mib::read(Raw::Text(text)).map(|Mib(mib)| mib)
}

fn cores(text: &str) -> Result<f64, String> {
    Cores::parse(text).map(|Cores(milli)| f64::from(milli) / 1000.0)
}

fn label(text: &str) -> Result<(String, String), String> {
    match text.split_once('=') {
        Some((name, value)) if !name.is_empty() => Ok((name.to_owned(), value.to_owned())),
        _ => Err("write NAME=VALUE, e.g. disk=fast".to_owned()),
    }
}

#[cfg(test)]
mod tests {
    use clap::Parser;

    use super::*;
    use crate::cli::args::{Command, HaiArgs};

    fn request(words: &str) -> SubmitRequest {
        let words = ["hai", "submit"].into_iter().chain(words.split_whitespace()).chain(["--", "true"]);
        match HaiArgs::try_parse_from(words).expect("it is right").command {
            Command::Submit(args) => args.request().expect("it is right"),
            other => panic!("{other:?}"),
        }
    }

    #[test]
    fn flags_for_devices_are_taken_over() {
        let asked = request(
            "--share 0.25 -m B -m A --not-model C --same-model --mig 1g.5gb --compute-capability 8.6 -w 8 --workers-min 2",
        );
        assert_eq!(asked.share, Some(Amount::from_milli(250)));
        assert_eq!(asked.models.iter().map(|model| model.as_str()).collect::<Vec<_>>(), ["B", "A"]);
        assert!(asked.forbidden_models.contains("C") && asked.same_model);
        assert_eq!(asked.mig_profile.expect("one").as_str(), "1g.5gb");
        assert_eq!(asked.compute_capability.expect("one").to_string(), "8.6");
        assert_eq!((asked.workers, asked.workers_min, asked.devices), (Some(8), Some(2), None));
        assert_eq!(request("--share-memory 6GiB").share_memory_mib, Some(6144));
    }

    #[test]
    fn flags_for_places_and_life_are_taken_over() {
        let asked = request(
            "--zone z --zone y --label disk=fast --one-leaf --one-zone --spread --kind interactive --lease 4h \
             --idle-after 30m --not-suspendable --expected 1h --limit 2h --after 3,4 --after-any 5 --retries 2 \
             --retry-back-off 1m --retry-anywhere --restart-cost 2m --checkpoint-every 10m \
             --deadline 2026-12-01T10:00:00+01:00",
        );
        assert!(asked.zones.len() == 2 && asked.one_leaf && asked.one_zone && asked.spread);
        assert_eq!(asked.labels.get("disk").map(String::as_str), Some("fast"));
        assert_eq!(asked.kind, KindWord::Interactive);
        assert_eq!((asked.lease, asked.idle_after), (Some(Span::from_mins(240)), Some(Span::from_mins(30))));
        assert_eq!(asked.suspendable, Some(false));
        assert_eq!((asked.expected, asked.limit), (Some(Span::from_mins(60)), Some(Span::from_mins(120))));
        assert_eq!((asked.after, asked.after_any), (vec![TaskId(3), TaskId(4)], vec![TaskId(5)]));
        let retries = asked.retries.expect("some");
        assert_eq!((retries.limit, retries.back_off, retries.avoid_nodes), (2, Span::from_mins(1), false));
        assert_eq!((asked.restart_cost, asked.checkpoint_every), (Some(Span::from_mins(2)), Some(Span::from_mins(10))));
        assert_eq!(asked.deadline.expect("one").to_rfc3339(), "2026-12-01T09:00:00+00:00");
    }

    #[test]
    fn what_is_left_out_is_left_to_the_server() {
        let mut asked = request("");
        asked.workdir = None;
        assert_eq!(asked, SubmitRequest { command: vec!["true".to_owned()], ..SubmitRequest::default() });
    }

    #[test]
    fn a_point_in_time_may_be_told_from_now() {
        let now = DateTime::parse_from_rfc3339("2026-11-30T20:00:00Z").expect("a time").to_utc();
        let told = |text| when(text).expect("a time").from(now).to_rfc3339();
        assert_eq!(told("12h"), "2026-12-01T08:00:00+00:00");
        assert_eq!(told("2026-12-01T09:00:00+01:00"), "2026-12-01T08:00:00+00:00");
        assert!(when("2026-12-01").is_err() && when("tomorrow").is_err());
        assert_eq!(When::In(Span::MAX).from(now), DateTime::<Utc>::MAX_UTC);
    }
}
