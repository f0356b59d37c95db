//! Reads and shows the tables inside `[scheduler]`: order, aging, churn and weights. See [`super::placement`] for places.

use hai_core::engine::{Churn, EngineConfig};
use hai_core::model::{ModelName, Span};
use hai_core::queue::order::{
    Aging, EarliestDeadline, Fair, Fifo, LeastAttainedService, OrderPolicy, ShortestExpected, ShortestRemaining,
};
use toml::Spanned;
use toml::de::DeValue;

use super::file::{Findings, Table};
use super::settings::{AGING_SETTINGS, CHURN_SETTINGS, Entry};
use super::value::{Raw, Setting, one_of, quoted};
use super::{Config, placement};

/// A table inside `[scheduler]` that is there as a whole or not at all.
pub(crate) struct Group<T: 'static> {
    /// `aging`
    pub(crate) name: &'static str,
    /// What stands in it.
    pub(crate) entries: &'static [Entry<T>],
    /// The table, if it is there.
    pub(crate) get: fn(&EngineConfig) -> Option<T>,
    /// Puts it there.
    pub(crate) set: fn(&mut EngineConfig, T),
    /// Values to suggest.
    pub(crate) example: T,
}

/// `[scheduler.aging]`
pub(crate) const AGING: Group<Aging> = Group {
    name: "aging",
    entries: AGING_SETTINGS,
    get: |scheduler| scheduler.aging,
    set: |scheduler, aging| scheduler.aging = Some(aging),
    example: Aging { every: Span::from_mins(6 * 60), cap: 2 },
};

/// `[scheduler.churn]`
pub(crate) const CHURN: Group<Churn> = Group {
    name: "churn",
    entries: CHURN_SETTINGS,
    get: |scheduler| scheduler.churn,
    set: |scheduler, churn| scheduler.churn = Some(churn),
    example: Churn { free: 2, every: Span::from_mins(2 * 60) },
};

/// Takes over all that stands in tables of its own; returns the keys of those settings that may also be a single value
/// and were none.
pub(crate) fn read(table: &mut Table<'_>, config: &mut Config, found: &mut Findings<'_>) -> Vec<&'static str> {
    let mut read = Vec::new();
    if let Some(value) = tabular(table, "order") {
        read.push("order");
        if let Some(order) = read_order(value, found) {
            config.scheduler.order = order;
            config.origins.insert("scheduler.order".to_owned(), found.place(value.span()));
        }
    }
    if let Some(value) = tabular(table, "placement") {
        read.push("placement");
        if let Some(policy) = placement::read_table(value, found) {
            config.scheduler.placement = policy;
            config.origins.insert("scheduler.placement".to_owned(), found.place(value.span()));
        }
    }
    read_group(&AGING, table, config, found);
    read_group(&CHURN, table, config, found);
    if let Some(value) = table.raw("weights") {
        read_weights(value, config, found);
    }
    read
}

/// The value of a key that is no single one.
fn tabular<'t>(table: &mut Table<'t>, key: &'static str) -> Option<&'t Spanned<DeValue<'t>>> {
    table.raw(key).filter(|value| matches!(value.get_ref(), DeValue::Table(_) | DeValue::Array(_)))
}

fn read_group<T: Copy>(group: &Group<T>, table: &mut Table<'_>, config: &mut Config, found: &mut Findings<'_>) {
    let Some(value) = table.raw(group.name) else { return };
    let head = format!("[scheduler.{}]", group.name);
    let Some(mut table) = Table::of(value, head.as_str(), found) else { return };
    let mut read = group.example;
    for (key, origin) in table.settings(group.entries.iter(), &mut read, found) {
        config.origins.insert(format!("scheduler.{}.{key}", group.name), origin);
    }
    for entry in group.entries {
        if table.raw(entry.key).is_none() {
            let example = (entry.show)(&group.example).unwrap_or_default();
            let key = entry.key;
            found.add(table.span.clone(), format!("{head} has no {key}; write e.g. {key} = {example}"));
        }
    }
    table.finish(found);
    (group.set)(&mut config.scheduler, read);
}

fn read_weights(value: &Spanned<DeValue<'_>>, config: &mut Config, found: &mut Findings<'_>) {
    let Some(table) = Table::of(value, "[scheduler.weights]", found) else { return };
    for (name, value) in table.entries() {
        let model = name.get_ref().parse::<ModelName>().map_err(|error| found.add(name.span(), error.to_string()));
        let weight = Setting::read(Raw::Toml(value.get_ref()));
        let weight = weight.map_err(|message| found.add(value.span(), format!("{}: {message}", name.get_ref())));
        if let (Ok(model), Ok(weight)) = (model, weight) {
            config.origins.insert(format!("scheduler.weights.{model}"), found.place(value.span()));
            config.scheduler.weights.insert(model, weight);
        }
    }
}

const FAIR: &str = "fair";
const LEAST_ATTAINED: &str = "least-attained-service";

/// `fair`, or another order, with what it is by itself; more has to be told in a table.
impl Setting for OrderPolicy {
    fn read(raw: Raw<'_>) -> Result<Self, String> {
        let words = [
            ("fifo", OrderPolicy::Fifo(Fifo {})),
            (FAIR, OrderPolicy::Fair(Fair::default())),
            ("shortest-expected", OrderPolicy::ShortestExpected(ShortestExpected {})),
            ("shortest-remaining", OrderPolicy::ShortestRemaining(ShortestRemaining {})),
            (LEAST_ATTAINED, OrderPolicy::LeastAttainedService(LeastAttainedService::default())),
            ("earliest-deadline", OrderPolicy::EarliestDeadline(EarliestDeadline {})),
        ];
        one_of(raw, "an order", &words)
    }

    fn show(&self) -> String {
        let word = quoted(word(self));
        match self {
            OrderPolicy::Fair(fair) if *fair != Fair::default() => {
                let half_life = Some(fair.half_life).filter(|span| *span != Span::MAX);
                format!("{{ policy = {word}, half_life = {} }}", half_life.show())
            }
            OrderPolicy::LeastAttainedService(served) if *served != LeastAttainedService::default() => {
                let thresholds: Vec<Span> = served.thresholds.iter().copied().map(Span::from_ms).collect();
                format!("{{ policy = {word}, thresholds = {} }}", thresholds.show())
            }
            _ => word,
        }
    }
}

fn word(order: &OrderPolicy) -> &'static str {
    match order {
        OrderPolicy::Fifo(_) => "fifo",
        OrderPolicy::Fair(_) => FAIR,
        OrderPolicy::ShortestExpected(_) => "shortest-expected",
        OrderPolicy::ShortestRemaining(_) => "shortest-remaining",
        OrderPolicy::LeastAttainedService(_) => LEAST_ATTAINED,
        OrderPolicy::EarliestDeadline(_) => "earliest-deadline",
    }
}

/// An order with what it is to be told.
fn read_order(value: &Spanned<DeValue<'_>>, found: &mut Findings<'_>) -> Option<OrderPolicy> {
    let mut table = Table::of(value, "[scheduler.order]", found)?;
    let policy = table.require::<OrderPolicy>("policy", "\"fair\"", found);
    let half_life = table.take::<Option<Span>>("half_life", found);
    let thresholds = table.take::<Vec<Span>>("thresholds", found);
    // What goes with a policy that is not known can not be told.
    if let Some((policy, _)) = &policy {
        table.only_with("half_life", FAIR, word(policy), found);
        table.only_with("thresholds", LEAST_ATTAINED, word(policy), found);
    }
    table.finish(found);
    let mut order = policy?.0;
    match &mut order {
        OrderPolicy::Fair(fair) => {
            if let Some((half_life, _)) = half_life {
                fair.half_life = half_life.unwrap_or(Span::MAX);
            }
        }
        OrderPolicy::LeastAttainedService(served) => {
            if let Some((thresholds, _)) = thresholds {
                served.thresholds = thresholds.into_iter().map(Span::as_ms).collect();
            }
        }
        _ => {}
    }
    Some(order)
}
