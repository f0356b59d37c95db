//! Reads the TOML file: finds every problem in it, each with its line, rather than the first alone.

use std::collections::BTreeSet;
use std::ops::Range;
use std::sync::Arc;

use hai_core::model::{Allowance, Limit, Priority, RightKey, RightRow, Time};
use toml::Spanned;
use toml::de::{DeTable, DeValue};

use super::error::{Origin, Place, Problem, did_you_mean};
use super::settings::{Entry, LEVEL_SETTINGS, SECTIONS, SETTINGS};
use super::value::{Raw, Setting};
use super::{Config, LevelTiming, kubernetes, node, scheduler, team};

/// The lists of tables at the top of the file.
const LISTS: [&str; 3] = ["node", "team", "right"];

/// A file's name and text, to tell where in it something is.
pub(crate) struct Source<'a> {
    name: Arc<str>,
    text: &'a str,
    /// The byte at which every line begins.
    lines: Vec<usize>,
}

impl<'a> Source<'a> {
    pub(crate) fn new(name: &str, text: &'a str) -> Self {
        let begins = std::iter::once(0).chain(text.match_indices('\n').map(|(at, _)| at + 1)).collect();
        Source { name: Arc::from(name), text, lines: begins }
    }

    /// The line's text, from line 1.
    pub(crate) fn line(&self, number: usize) -> Option<&'a str> {
        let begin = *self.lines.get(number.checked_sub(1)?)?;
        self.text.get(begin..)?.lines().next().or(Some(""))
    }

    /// Where the bytes of `span` are.
    pub(crate) fn place(&self, span: Range<usize>) -> Origin {
        let line = self.lines.partition_point(|begin| *begin <= span.start).max(1);
        let begin = self.lines[line - 1];
        let chars = |from: usize, to: usize| self.text.get(from..to).map_or(0, |text| text.chars().count());
        let end = begin + self.line(line).map_or(0, str::len);
        let width = chars(span.start, span.end.min(end).max(span.start)).max(1);
        Origin::File(Place { file: Arc::clone(&self.name), line, column: chars(begin, span.start) + 1, width })
    }
}

/// What was found wrong so far, and in which text.
pub(crate) struct Findings<'s> {
    source: &'s Source<'s>,
    pub(crate) problems: Vec<Problem>,
}

impl Findings<'_> {
    pub(crate) fn add(&mut self, span: Range<usize>, message: impl Into<String>) {
        let origin = self.place(span);
        self.problems.push(Problem { origin, message: message.into(), line_text: None });
    }

    pub(crate) fn place(&self, span: Range<usize>) -> Origin {
        self.source.place(span)
    }
}

/// One table being read: knows which keys were asked for, so that the rest are unknown ones.
pub(crate) struct Table<'t> {
    entries: &'t DeTable<'t>,
    /// How people write its head, e.g. `[server]`.
    head: String,
    /// Where it begins.
    pub(crate) span: Range<usize>,
    asked: BTreeSet<&'static str>,
}

impl<'t> Table<'t> {
    /// `value` as a table; anything else is a problem.
    pub(crate) fn of(
        value: &'t Spanned<DeValue<'t>>,
        head: impl Into<String>,
        found: &mut Findings<'_>,
    ) -> Option<Self> {
        let head = head.into();
        match value.get_ref() {
            DeValue::Table(entries) => Some(Table { entries, head, span: value.span(), asked: BTreeSet::new() }),
            DeValue::Array(_) => {
                found.add(value.span(), format!("{head} is one table, not a list; write it once, in single brackets"));
                None
            }
            _ => {
                found.add(value.span(), format!("{head} is a table, not a single value"));
                None
            }
        }
    }

    /// The value of a key, not understood yet.
    pub(crate) fn raw(&mut self, key: &'static str) -> Option<&'t Spanned<DeValue<'t>>> {
        self.asked.insert(key);
        self.entries.get(key)
    }

    /// The value of a key, where it stands; what can not be understood is a problem.
    pub(crate) fn take<T: Setting>(
        &mut self,
        key: &'static str,
        found: &mut Findings<'_>,
    ) -> Option<(T, Range<usize>)> {
        let value = self.raw(key)?;
        match T::read(Raw::Toml(value.get_ref())) {
            Ok(read) => Some((read, value.span())),
            Err(message) => {
                found.add(value.span(), format!("{key}: {message}"));
                None
            }
        }
    }

    /// The value of a key that must be there.
    pub(crate) fn require<T: Setting>(
        &mut self,
        key: &'static str,
        example: &str,
        found: &mut Findings<'_>,
    ) -> Option<(T, Range<usize>)> {
        if self.raw(key).is_none() {
            found.add(self.span.clone(), format!("{} has no {key}; write e.g. {key} = {example}", self.head));
            return None;
        }
        self.take(key, found)
    }

    /// The items of a list, each where it stands; those that can not be understood are problems.
    pub(crate) fn items<T: Setting>(
        &mut self,
        key: &'static str,
        found: &mut Findings<'_>,
    ) -> Option<Vec<(T, Range<usize>)>> {
        let value = self.raw(key)?;
        let mut problem = |at: Range<usize>, message: String| found.add(at, format!("{key}: {message}"));
        let DeValue::Array(items) = value.get_ref() else {
            let wrong = Raw::Toml(value.get_ref()).unexpected::<T>("a list in brackets");
            return wrong.map_err(|message| problem(value.span(), message)).ok().map(|_| Vec::new());
        };
        let read = items.iter().filter_map(|item| {
            let read = T::read(Raw::Toml(item.get_ref())).map_err(|message| problem(item.span(), message));
            Some((read.ok()?, item.span()))
        });
        Some(read.collect())
    }

    /// The tables of a list of tables (`[[node]]`).
    pub(crate) fn list(&mut self, key: &'static str, head: &str, found: &mut Findings<'_>) -> Vec<Table<'t>> {
        match self.raw(key).map(|value| (value.get_ref(), value)) {
            None => Vec::new(),
            Some((DeValue::Array(items), _)) => items.iter().filter_map(|item| Table::of(item, head, found)).collect(),
            Some((_, value)) => {
                found.add(value.span(), format!("{head} is a list of tables; write it in double brackets: {head}"));
                Vec::new()
            }
        }
    }

    /// Takes over what the settings of `entries` say, and where each stands.
    pub(crate) fn settings<T: 'static>(
        &mut self,
        entries: impl Iterator<Item = &'static Entry<T>>,
        target: &mut T,
        found: &mut Findings<'_>,
    ) -> Vec<(&'static str, Origin)> {
        let mut set = Vec::new();
        for entry in entries {
            let Some(value) = self.raw(entry.key) else { continue };
            match (entry.set)(target, Raw::Toml(value.get_ref())) {
                Ok(()) => set.push((entry.key, found.place(value.span()))),
                Err(message) => found.add(value.span(), format!("{}: {message}", entry.key)),
            }
        }
        set
    }

    /// All that is in it, for a table whose keys are names.
    pub(crate) fn entries(&self) -> &'t DeTable<'t> {
        self.entries
    }

    /// A key that only goes with the word `of`, beside another word, is a problem.
    pub(crate) fn only_with(&mut self, key: &'static str, of: &str, word: &str, found: &mut Findings<'_>) {
        let entry = self.entries.get_key_value(key);
        self.asked.insert(key);
        if let Some((key, _)) = entry.filter(|_| word != of) {
            let message = format!("{} goes with policy = \"{of}\", not with \"{word}\"", key.get_ref());
            found.add(key.span(), message);
        }
    }

    /// Every key that nobody asked for is a problem.
    pub(crate) fn finish(self, found: &mut Findings<'_>) {
        for key in self.entries.keys().filter(|key| !self.asked.contains(&**key.get_ref())) {
            let hint = did_you_mean(key.get_ref(), self.asked.iter().copied());
            found.add(key.span(), format!("unknown key `{}` in {}{hint}", key.get_ref(), self.head));
        }
    }
}

/// Takes the file's settings over into `config`; returns what is wrong.
pub(crate) fn read(source: &Source<'_>, config: &mut Config) -> Vec<Problem> {
    let (document, errors) = DeTable::parse_recoverable(source.text);
    let mut found = Findings { source, problems: Vec::new() };
    for error in &errors {
        let message = error.message();
        found.add(error.span().unwrap_or_default(), format!("this is not TOML: {message}"));
    }
    // Half-understood text would only give wrong problems.
    if errors.is_empty() {
        read_document(document.get_ref(), config, &mut found);
    }
    found.problems
}

fn read_document(document: &DeTable<'_>, config: &mut Config, found: &mut Findings<'_>) {
    for (key, value) in document {
        let name: &str = key.get_ref();
        if let Some(section) = SECTIONS.into_iter().find(|section| *section == name) {
            read_section(section, value, config, found);
        } else if !LISTS.contains(&name) {
            found.add(key.span(), unknown_at_top(name, value.get_ref()));
        }
    }
    let mut top = Table { entries: document, head: "the file".to_owned(), span: 0..0, asked: BTreeSet::new() };
    read_rights(&mut top, config, found);
    team::read_all(&mut top, config, found);
    node::read_all(&mut top, config, found);
}

fn unknown_at_top(name: &str, value: &DeValue<'_>) -> String {
    if !matches!(value, DeValue::Table(_) | DeValue::Array(_)) {
        if let Some(entry) = SETTINGS.iter().find(|entry| entry.key == name) {
            return format!("`{name}` stands outside its table; write it under [{}]", entry.section);
        }
        return format!("unknown key `{name}` outside of any table");
    }
    match super::error::meant(name, SECTIONS.into_iter().chain(LISTS)) {
        Some(list) if LISTS.contains(&list) => format!("unknown table `{name}`; did you mean [[{list}]]?"),
        Some(section) => format!("unknown table `{name}`; did you mean [{section}]?"),
        None => {
            let sections = SECTIONS.join("], [");
            format!("unknown table `{name}`; there are [{sections}], [[node]], [[team]] and [[right]]")
        }
    }
}

fn read_section<'t>(
    section: &'static str,
    value: &'t Spanned<DeValue<'t>>,
    config: &mut Config,
    found: &mut Findings<'_>,
) {
    let Some(mut table) = Table::of(value, format!("[{section}]"), found) else { return };
    let read = if section == "scheduler" { scheduler::read(&mut table, config, found) } else { Vec::new() };
    let entries = SETTINGS.iter().filter(|entry| entry.section == section && !read.contains(&entry.key));
    for (key, origin) in table.settings(entries, config, found) {
        config.origins.insert(format!("{section}.{key}"), origin);
    }
    if section == "scheduler"
        && let Some(levels) = table.raw("levels")
    {
        read_levels(levels, config, found);
    }
    if section == "kubernetes" {
        kubernetes::read(&mut table, config, found);
    }
    table.finish(found);
}

fn read_levels<'t>(value: &'t Spanned<DeValue<'t>>, config: &mut Config, found: &mut Findings<'_>) {
    let Some(levels) = Table::of(value, "[scheduler.levels]", found) else { return };
    for (name, value) in levels.entries {
        // Exactly the name, so that one level can not stand there twice.
        let known = Priority::LEVELS.into_iter().find(|level| level.name() == &**name.get_ref());
        let Some(level) = known else {
            let hint = did_you_mean(name.get_ref(), Priority::LEVELS.into_iter().map(Priority::name));
            let list = Priority::LEVELS.map(Priority::name).join(", ");
            let rest = if hint.is_empty() { format!("; the levels are {list}") } else { hint };
            found.add(name.span(), format!("`{}` is not a level{rest}", name.get_ref()));
            continue;
        };
        let Some(mut table) = Table::of(value, format!("[scheduler.levels.{level}]"), found) else { continue };
        let mut timing = LevelTiming::default();
        for (key, origin) in table.settings(LEVEL_SETTINGS.iter(), &mut timing, found) {
            config.origins.insert(format!("scheduler.levels.{level}.{key}"), origin);
        }
        table.finish(found);
        config.levels.insert(level, timing);
    }
}

fn read_rights(top: &mut Table<'_>, config: &mut Config, found: &mut Findings<'_>) {
    let tables = top.list("right", "[[right]]", found);
    if tables.is_empty() {
        return;
    }
    config.rights.clear();
    for mut table in tables {
        let span = table.span.clone();
        let wrong_before = found.problems.len();
        let key = RightKey {
            user: table.take("user", found).map(|(user, _)| user),
            group: table.take("group", found).map(|(group, _)| group),
            priority: table.take("priority", found).map(|(priority, _)| priority),
            team: table.take("team", found).map(|(team, _)| team),
            model: table.take("model", found).map(|(model, _)| model),
            cap: table.take("cap", found).is_some_and(|(cap, _)| cap),
        };
        let expires = table.take::<Time>("expires", found).map(|(expires, _)| expires);
        let nodes = table.take::<Limit>("nodes", found).map(|(nodes, _)| nodes);
        let devices = table.take::<Limit>("devices", found).map(|(devices, _)| devices);
        table.finish(found);
        if found.problems.len() > wrong_before {
            continue;
        }
        if nodes.is_none() && devices.is_none() {
            found.add(span, "this [[right]] gives nothing; write nodes = … or devices = …, a number or \"unlimited\"");
            continue;
        }
        let allowance = Allowance { nodes: nodes.unwrap_or_default(), devices: devices.unwrap_or_default() };
        config.origins.insert(format!("right.{}", config.rights.len()), found.place(span));
        config.rights.push(RightRow { key, allowance, expires });
    }
}
