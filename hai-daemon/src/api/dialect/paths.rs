//! The paths of hai-platform's server: whose they are, and which of them are not offered.

/// All paths of the dialect begin so.
const PREFIXES: [&str; 5] = ["/query/", "/operating/", "/ugc/", "/monitor/", "/monitor_v2/"];

/// Paths that are known and not offered, and why not.
const NOT_OFFERED: [(&str, &str); 49] = [
    ("/operating/task/tag", NO_TAGS),
    ("/operating/task/untag", NO_TAGS),
    ("/operating/user/tag/delete", NO_TAGS),
    ("/operating/task/share", NO_SHARING),
    ("/operating/task/unshare", NO_SHARING),
    ("/operating/task/group/update", "a task keeps its group; stop it and submit it again"),
    (
        "/operating/task/fail",
        "sick nodes are found by their devices here; an operator drains one with `hai preview --apply drain NODE`",
    ),
    ("/operating/task/restart_log/set", "why an attempt ended stands in its log here"),
    ("/operating/task/service_control", NO_SERVICES),
    ("/operating/task/artifact/map", NO_ARTIFACTS),
    ("/operating/task/artifact/unmap", NO_ARTIFACTS),
    ("/operating/task/validate", NO_CHECKS),
    ("/operating/task/haiprof", NO_PROFILES),
    ("/operating/task/schedule_zone/update", "a task keeps its zone; stop it and submit it again"),
    ("/operating/rerun_task", "submit the task again"),
    ("/operating/user/access_token/delete", "a token ends when the user gets a new one: `hai users token`"),
    ("/operating/user/create", NO_USERS),
    ("/operating/user/active/update", NO_USERS),
    ("/operating/user/group/update", NO_USERS),
    ("/operating/user/training_quota_limit/update", NO_RIGHTS),
    ("/operating/user/artifact/createupdate", NO_ARTIFACTS),
    ("/operating/user/artifact/delete", NO_ARTIFACTS),
    ("/operating/service_task/delete", NO_SERVICES),
    ("/operating/service_task/move_node", NO_SERVICES),
    ("/operating/service_task/checkpoint", NO_SERVICES),
    ("/operating/node/state/update", NO_NODES),
    ("/operating/node/label", NO_NODES),
    ("/operating/node/host_info/create", NO_NODES),
    ("/operating/node/host_info/update", NO_NODES),
    ("/operating/node/host_info/delete", NO_NODES),
    ("/operating/node/validate", NO_CHECKS),
    ("/operating/mount_point/create", NO_MOUNTS),
    ("/operating/mount_point/delete", NO_MOUNTS),
    ("/operating/storage/add_monitor_dir", NO_MOUNTS),
    ("/ugc/user/nodeport/create", NO_PORTS),
    ("/ugc/user/nodeport/delete", NO_PORTS),
    ("/ugc/user/nodeport/bind", NO_PORTS),
    ("/ugc/swap_memory", "memory is not changed here"),
    ("/query/task/time_range_overview", "ask `hai audit`"),
    ("/query/task/container_monitor_stats/list", NO_PROFILES),
    ("/query/task/get_task_on_node", "ask `hai audit`"),
    ("/query/task/artifact/get", NO_ARTIFACTS),
    ("/query/task/artifact/list", NO_ARTIFACTS),
    ("/query/user/artifact/get", NO_ARTIFACTS),
    ("/query/task/schedule_zone_distribute", "ask `hai nodes`"),
    ("/query/service_task/list", NO_SERVICES),
    ("/query/service_task/list_all", NO_SERVICES),
    ("/query/storage/get_by_task", NO_MOUNTS),
    ("/monitor/user/storage/list", NO_MOUNTS),
];
/// Paths that begin so are not offered either.
const NOT_OFFERED_PARTS: [(&str, &str); 7] = [
    ("/query/user/training_quota", NO_RIGHTS),
    ("/monitor/", NO_PROFILES),
    ("/monitor_v2/", NO_PROFILES),
    ("/ugc/sync_", NO_FILES),
    ("/ugc/get_sync_", NO_FILES),
    ("/ugc/get_sts_", NO_FILES),
    ("/ugc/cloud/", NO_FILES),
];
const NO_TAGS: &str = "tags are given at the submission here, and stay";
const NO_SHARING: &str = "tasks are not shared here";
const NO_SERVICES: &str = "notebooks and services are not offered through this interface";
const NO_ARTIFACTS: &str = "artifacts are not kept here";
const NO_CHECKS: &str = "nodes are watched by their agents here";
const NO_PROFILES: &str = "profiles and series are not kept here; /metrics has numbers for Prometheus";
const NO_USERS: &str = "users are kept with `hai users`";
const NO_RIGHTS: &str = "rights are kept with `hai rights`";
const NO_NODES: &str = "nodes are what the cluster says they are; `hai preview --apply drain NODE` takes one out";
const NO_MOUNTS: &str = "what is mounted is set in the server's configuration";
const NO_FILES: &str = "files are not carried to and from the cluster here";
const NO_PORTS: &str = "ports are not given out here";

/// The path with single slashes: an address that ends in one gives two.
pub(super) fn plain(path: &str) -> String {
    let parts: Vec<&str> = path.split('/').filter(|part| !part.is_empty()).collect();
    format!("/{}", parts.join("/"))
}

/// Whether such a path is one of the dialect's, known or not.
pub(super) fn are_ours(path: &str) -> bool {
    path == "/api_server_status" || PREFIXES.iter().any(|prefix| path.starts_with(prefix))
}

/// Why a path that is known is not offered.
pub(super) fn why_not(path: &str) -> Option<&'static str> {
    let known = NOT_OFFERED.iter().find(|(known, _)| *known == path);
    let part = NOT_OFFERED_PARTS.iter().find(|(begin, _)| path.starts_with(begin));
    known.or(part).map(|(_, why)| *why)
}

/// Whether asking there changes nothing, although it is posted.
pub(in crate::api) fn only_reads(path: &str) -> bool {
    let path = plain(path);
    path.starts_with("/query/") || path.starts_with("/monitor") || path == "/ugc/user/train_image/list"
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn paths_are_found_with_any_number_of_slashes() {
        assert_eq!(plain("//query//task/"), "/query/task");
        assert!(are_ours(&plain("//query/task")) && !are_ours("/v1/query/task") && !are_ours("/queryx"));
        assert!(only_reads("//query/task/log") && !only_reads("/operating/task/stop"));
    }

    #[test]
    fn what_is_not_offered_is_named_once() {
        let names: std::collections::BTreeSet<_> = NOT_OFFERED.iter().map(|(path, _)| path).collect();
        assert_eq!(names.len(), NOT_OFFERED.len());
        assert!(NOT_OFFERED.iter().all(|(path, why)| are_ours(path) && !why.is_empty()));
    }
}
