//! The table of all single-valued settings: what the file reader, the variables, the flags and `config show` go by.

use hai_core::engine::Churn;
use hai_core::queue::order::Aging;

use super::value::{Raw, Setting};
use super::{Config, LevelTiming};

/// One setting.
pub(crate) struct Entry<T: 'static> {
    /// The table it stands in.
    pub(crate) section: &'static str,
    /// Its key in there.
    pub(crate) key: &'static str,
    /// What it is, in one line.
    pub(crate) doc: &'static str,
    /// Understands a value and takes it over.
    pub(crate) set: fn(&mut T, Raw<'_>) -> Result<(), String>,
    /// The value as TOML; `None` if there is none.
    pub(crate) show: fn(&T) -> Option<String>,
}

macro_rules! settings {
    ($($section:literal $key:literal => $($field:ident).+ $(($optional:ident))?, $doc:literal;)*) => {
        &[$(Entry {
            section: $section,
            key: $key,
            doc: $doc,
            set: |config, raw| Setting::read(raw).map(|value| settings!(@set value, config.$($field).+ $(, $optional)?)),
            show: |config| settings!(@show config.$($field).+ $(, $optional)?),
        }),*]
    };
    (@set $value:ident, $field:expr) => { $field = $value };
    (@set $value:ident, $field:expr, optional) => { $field = Some($value) };
    (@show $field:expr) => { Some(Setting::show(&$field)) };
    (@show $field:expr, optional) => { $field.as_ref().map(Setting::show) };
}

/// The settings of [`Config`], section by section.
pub(crate) const SETTINGS: &[Entry<Config>] = settings! {
    "server" "listen" => server.listen, "where the API listens, host:port";
    "server" "body_bytes_max" => server.body_bytes_max, "the largest request that is read";
    "data" "dir" => data.dir, "database, logs and runs; `~` is the home directory";
    "data" "database" => data.database (optional), "a Postgres server's database instead of a file";
    "data" "keep_history" => data.keep_history (optional), "how long what is over is kept; for ever if left out";
    "log" "level" => log.level, "error, warn, info, debug or trace";
    "log" "format" => log.format, "text or json";
    "scheduler" "policy" => scheduler.policy, "hai or hai-fifo";
    "scheduler" "borrow" => scheduler.borrow, "idle capacity may be used beyond one's rights";
    "scheduler" "protected" => scheduler.timing.protected, "a run is not suspended for a better priority before";
    "scheduler" "slice" => scheduler.timing.slice, "a run is not suspended for its own priority before";
    "scheduler" "demote_after" => scheduler.timing.demote_after, "ABOVE_NORMAL counts as NORMAL after";
    "scheduler" "restart_cost" => scheduler.restart_cost, "what suspending costs, per device";
    "scheduler" "back_off" => scheduler.back_off, "wait after a refused start; doubles each time";
    "scheduler" "back_off_max" => scheduler.back_off_max, "the longest such wait";
    "scheduler" "cool_down" => scheduler.cool_down, "a node that refused rests; doubles each time";
    "scheduler" "cool_down_max" => scheduler.cool_down_max, "the longest such time";
    "scheduler" "cut_grace" => scheduler.cut_grace, "work beyond a right that was cut may stay";
    "scheduler" "order" => scheduler.order, "in which order tasks of one level are tried";
    "scheduler" "placement" => scheduler.placement, "which of the nodes that will do a task gets";
    "scheduler" "cross_zone_tasks" => scheduler.cross_zone_tasks, "runs with workers in several zones at a time";
    "scheduler" "reserve_after" => scheduler.reserve_after, "nodes are kept for a task that waited so long";
    "scheduler" "reservations" => scheduler.reservations, "for so many tasks of a group at a time";
    "scheduler" "slice_swaps" => scheduler.slice_swaps, "a slice is at least so many times a swap's cost";
    "cluster" "kind" => cluster.kind, "where workers are executed: local or kubernetes";
    "kubernetes" "namespace" => kubernetes.namespace, "where workers live";
    "kubernetes" "instance" => kubernetes.instance, "tells two hais in one namespace apart";
    "kubernetes" "kubeconfig" => kubernetes.kubeconfig (optional), "how the API server is reached";
    "kubernetes" "context" => kubernetes.context (optional), "which context of that file";
    "kubernetes" "server" => kubernetes.server (optional), "where workers reach the daemon";
    "kubernetes" "group_label" => kubernetes.group_label, "the label of nodes with their group";
    "kubernetes" "leaf_label" => kubernetes.leaf_label, "the label of nodes with their switch";
    "kubernetes" "spine_label" => kubernetes.spine_label, "the label of nodes with the switch above";
    "kubernetes" "zone_label" => kubernetes.zone_label, "the label of nodes with their room";
    "kubernetes" "image" => kubernetes.image (optional), "the image of workers whose task names none";
    "kubernetes" "image_pull_policy" => kubernetes.image_pull_policy (optional), "Always, IfNotPresent or Never";
    "kubernetes" "image_pull_secrets" => kubernetes.image_pull_secrets, "secrets with which images are fetched";
    "kubernetes" "service_account" => kubernetes.service_account (optional), "the service account of workers";
    "kubernetes" "tolerates" => kubernetes.tolerates, "taints that every worker tolerates";
    "kubernetes" "lost_after" => kubernetes.lost_after, "what runs on a node that is silent so long is given up";
    "kubernetes" "image_patience" => kubernetes.image_patience, "an image that can not be fetched is waited for";
    "kubernetes" "host_paths" => kubernetes.host_paths, "directories of nodes that may be mounted";
    "kubernetes" "run_as" => kubernetes.run_as (optional), "uid, or uid:gid, of users without their own";
    "devices" "simulated" => devices.simulated, "GPUs to pretend where there is none and no [[node]] is declared";
    "devices" "library" => devices.library, "NVIDIA's library, by name or path";
    "devices" "allow" => devices.allow, "programs that may use a GPU beside hai's work, e.g. Xorg";
    "devices" "stranger_memory" => devices.stranger_memory, "strangers that hold less of a GPU together are overlooked";
    "tasks" "default_group" => tasks.default_group, "the group of a task that names none";
    "tasks" "default_priority" => tasks.default_priority, "the priority of a task that names none";
    "tasks" "log_bytes_max" => tasks.log_bytes_max, "output kept of one worker of one run";
};

macro_rules! level_settings {
    ($($key:literal => $field:ident, $doc:literal;)*) => {
        &[$(Entry {
            section: "scheduler.levels",
            key: $key,
            doc: $doc,
            set: |timing, raw| Setting::read(raw).map(|value| timing.$field = Some(value)),
            show: |timing| timing.$field.as_ref().map(Setting::show),
        }),*]
    };
}

/// The settings of one level.
pub(crate) const LEVEL_SETTINGS: &[Entry<LevelTiming>] = level_settings! {
    "protected" => protected, "as in [scheduler], for this level";
    "slice" => slice, "as in [scheduler], for this level";
    "demote_after" => demote_after, "as in [scheduler], for this level";
};

/// The settings of `[scheduler.aging]`.
pub(crate) const AGING_SETTINGS: &[Entry<Aging>] = settings! {
    "scheduler.aging" "every" => every, "a task rises a level each time that it has waited so long";
    "scheduler.aging" "cap" => cap, "by so many levels at most; 0 for none";
};

/// The settings of `[scheduler.churn]`.
pub(crate) const CHURN_SETTINGS: &[Entry<Churn>] = settings! {
    "scheduler.churn" "free" => free, "suspensions of a task that are free";
    "scheduler.churn" "every" => every, "what it runs between two of the others";
};

/// The tables that hold [`SETTINGS`], in the order in which they are shown.
pub(crate) const SECTIONS: [&str; 8] =
    ["server", "data", "log", "scheduler", "cluster", "kubernetes", "devices", "tasks"];

impl<T> Entry<T> {
    /// `server.listen`
    pub(crate) fn name(&self) -> String {
        format!("{}.{}", self.section, self.key)
    }

    /// `HAI_SERVER_LISTEN`
    pub(crate) fn variable(&self) -> String {
        format!("HAI_{}_{}", self.section, self.key).to_ascii_uppercase().replace('.', "_")
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Those that have no default.
    const OPTIONAL: [&str; 9] = [
        "data.database",
        "data.keep_history",
        "kubernetes.kubeconfig",
        "kubernetes.context",
        "kubernetes.server",
        "kubernetes.image",
        "kubernetes.image_pull_policy",
        "kubernetes.service_account",
        "kubernetes.run_as",
    ];

    #[test]
    fn every_setting_stands_in_the_example() {
        for entry in SETTINGS {
            let lines = || crate::config::EXAMPLE.lines().map(|line| line.trim_start_matches('#'));
            assert!(lines().any(|line| line.starts_with(&format!("{} = ", entry.key))), "{}", entry.name());
        }
    }

    #[test]
    fn every_setting_reads_what_it_shows_and_stands_in_a_section() {
        for entry in SETTINGS {
            assert!(SECTIONS.contains(&entry.section), "{}", entry.name());
            let mut config = Config::default();
            let shown = (entry.show)(&config);
            assert_eq!(shown.is_none(), OPTIONAL.contains(&&*entry.name()), "{}", entry.name());
            let Some(shown) = shown else { continue };
            let value = toml::de::DeValue::parse(&shown).expect("it is TOML");
            (entry.set)(&mut config, Raw::Toml(value.get_ref())).unwrap_or_else(|e| panic!("{}: {e}", entry.name()));
            assert_eq!(config, Config::default(), "{}", entry.name());
        }
    }
}
