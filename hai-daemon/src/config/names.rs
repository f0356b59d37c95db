//! Names and paths as Kubernetes takes them, checked before it has a chance to refuse them.

use super::value::{Raw, Setting, quoted};

/// Stands in paths for the name of a task's owner.
const USER: &str = "{user}";
/// Where every worker has its shared memory.
const SHARED_MEMORY: &str = "/dev/shm";

/// A type of texts of which each was checked.
macro_rules! checked {
    ($($(#[$doc:meta])* $type:ident, $expected:literal, $check:expr;)*) => {$(
        $(#[$doc])*
        #[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
        pub struct $type(String);

        impl $type {
            /// The text.
            #[must_use]
            pub fn as_str(&self) -> &str {
                &self.0
            }
        }

        impl Setting for $type {
            fn read(raw: Raw<'_>) -> Result<Self, String> {
                let check: fn(&str) -> Result<String, String> = $check;
                check(raw.text(concat!($expected, " in quotes"))?).map($type)
            }
            fn show(&self) -> String {
                quoted(&self.0)
            }
        }
    )*};
}

checked! {
    /// A name that can be a part of a host's name: small letters, digits and `-`, at most 63.
    DnsLabel, "a DNS label", |text| dns_label(text, 63);
    /// A short name that all names of one hai's objects begin with: a DNS label of at most 20 that begins with a letter.
    Instance, "a DNS label", instance;
    /// The name of an object: DNS labels with dots between them.
    ObjectName, "an object's name", object_name;
    /// The key of a label or of a taint, e.g. `topology.kubernetes.io/zone`.
    LabelKey, "a label's key", label_key;
    /// The name of a mount, which is a volume's in a pod.
    MountName, "a mount's name", mount_name;
    /// How an operator calls a node: its name, its host's name or an address.
    NodeEntry, "a node's name or address", node_entry;
    /// A container image, e.g. `registry.lab/train:3`.
    Image, "an image", image;
    /// A text of one line.
    Line, "a text", one_line;
    /// Where the daemon is reached, e.g. `http://hai.hai.svc:8420`; without a slash at the end.
    ServerUrl, "a URL", server_url;
    /// An absolute path, in its shortest form.
    AbsolutePath, "a path", |text| match text.contains(['{', '}']) {
        true => Err(format!("`{text}` has braces in it; no name stands for another one here")),
        false => absolute(text),
    };
    /// An absolute path in its shortest form, in which `{user}` may stand for the task's owner.
    UserPath, "a path", absolute;
    /// Where something is mounted: a path as [`UserPath`], but not where a worker must have something else.
    MountPath, "a path", mount_path;
    /// A path inside of what is mounted, in which `{user}` may stand for the task's owner.
    SubPath, "a path", sub_path;
}

fn is_dns_label(text: &str) -> bool {
    let plain = |c: u8| c.is_ascii_lowercase() || c.is_ascii_digit() || c == b'-';
    !text.is_empty() && text.len() <= 63 && text.bytes().all(plain) && !text.starts_with('-') && !text.ends_with('-')
}

fn is_object_name(text: &str) -> bool {
    text.len() <= 253 && text.split('.').all(is_dns_label)
}

/// Whether a label can have this value.
pub(super) fn is_label_value(text: &str) -> bool {
    let inner = |c: u8| c.is_ascii_alphanumeric() || matches!(c, b'-' | b'_' | b'.');
    let ends =
        text.starts_with(|c: char| c.is_ascii_alphanumeric()) && text.ends_with(|c: char| c.is_ascii_alphanumeric());
    text.len() <= 63 && text.bytes().all(inner) && ends
}

fn dns_label(text: &str, most: usize) -> Result<String, String> {
    if is_dns_label(text) && text.len() <= most {
        return Ok(text.to_owned());
    }
    Err(format!(
        "`{text}` is not a DNS label: 1 to {most} small letters, digits and `-`, which is neither first nor last"
    ))
}

fn instance(text: &str) -> Result<String, String> {
    let label = dns_label(text, 20)?;
    // Services are called by it, and Kubernetes wants their names so.
    if label.starts_with(|c: char| c.is_ascii_digit()) {
        return Err(format!("`{text}` begins with a digit; begin with a letter"));
    }
    Ok(label)
}

fn object_name(text: &str) -> Result<String, String> {
    if is_object_name(text) {
        return Ok(text.to_owned());
    }
    Err(format!("`{text}` can not be an object's name: small letters, digits, `-` and `.`, e.g. `my-name`"))
}

fn label_key(text: &str) -> Result<String, String> {
    let (prefix, name) = text.split_once('/').map_or((None, text), |(prefix, name)| (Some(prefix), name));
    if prefix.is_none_or(is_object_name) && is_label_value(name) {
        return Ok(text.to_owned());
    }
    Err(format!("`{text}` can not be a label's key; write e.g. `hai_mars_group` or `topology.kubernetes.io/zone`"))
}

fn mount_name(text: &str) -> Result<String, String> {
    match text {
        "hai-shm" => Err("`hai-shm` is the name of every worker's shared memory; take another".to_owned()),
        _ => dns_label(text, 63),
    }
}

fn node_entry(text: &str) -> Result<String, String> {
    let plain = |c: char| c.is_ascii_alphanumeric() || matches!(c, '-' | '.' | ':' | '_');
    if !text.is_empty() && text.chars().all(plain) {
        return Ok(text.to_owned());
    }
    Err(format!("`{text}` can not be a node; write its name, its host's name or its address, each in its own quotes"))
}

/// Whether an image's name begins with a host rather than with a part of its path.
fn is_registry(text: &str) -> bool {
    let (host, port) = text.split_once(':').map_or((text, None), |(host, port)| (host, Some(port)));
    let number = |port: &str| !port.is_empty() && port.bytes().all(|c| c.is_ascii_digit());
    port.is_none_or(number) && (host == "localhost" || host.contains('.') || port.is_some())
}

fn image(text: &str) -> Result<String, String> {
    if let Some((_, rest)) = text.split_once("://") {
        return Err(format!("`{text}` is a URL; an image is written without one, e.g. `{rest}`"));
    }
    let plain = |c: char| c.is_ascii_alphanumeric() || matches!(c, '-' | '.' | ':' | '_' | '/' | '@');
    let (name, tag) = match text.split('@').next().unwrap_or_default() {
        // The colon of a registry's port comes before the last slash.
        name if name.rsplit('/').next().is_some_and(|last| last.contains(':')) => {
            name.rsplit_once(':').unwrap_or((name, ""))
        }
        name => (name, "latest"),
    };
    // A tag and the registry's host may have capitals.
    let path = match name.split_once('/') {
        Some((host, path)) if is_registry(host) => path,
        _ => name,
    };
    let small =
        path.split('/').all(|part| !part.is_empty() && !part.contains(|c: char| c.is_ascii_uppercase() || c == ':'));
    if tag.is_empty() || !small || !text.chars().all(plain) {
        return Err(format!("`{text}` is not an image; write e.g. `registry.lab/train:3`, the name in small letters"));
    }
    Ok(text.to_owned())
}

fn one_line(text: &str) -> Result<String, String> {
    if text.is_empty() || text.trim() != text || text.contains(char::is_control) {
        return Err(format!("{text:?} is empty, or has blanks around it or control characters in it"));
    }
    Ok(text.to_owned())
}

fn server_url(text: &str) -> Result<String, String> {
    let wrong = |why: &str| Err(format!("`{text}` {why}; write e.g. `http://hai.hai.svc:8420`"));
    let Some(rest) = text.strip_prefix("http://").or_else(|| text.strip_prefix("https://")) else {
        return wrong("does not begin with http:// or https://");
    };
    let plain = |c: char| c.is_ascii_graphic() && !matches!(c, '?' | '#' | '@');
    let authority = rest.split('/').next().unwrap_or_default();
    // A colon in brackets belongs to an address.
    let (host, port) = match authority.rsplit_once(':') {
        Some((host, port)) if !port.contains(']') => (host, Some(port)),
        _ => (authority, None),
    };
    let number =
        |port: &str| port.bytes().all(|c| c.is_ascii_digit()) && port.parse::<u16>().is_ok_and(|port| port > 0);
    if host.is_empty() || !rest.chars().all(plain) {
        return wrong("names no host that can be reached");
    }
    match port {
        Some(port) if !number(port) => wrong("has no port from 1 to 65535 after its colon"),
        _ => Ok(text.trim_end_matches('/').to_owned()),
    }
}

/// The parts of a path that lead somewhere.
fn parts(text: &str) -> Result<Vec<&str>, String> {
    if text.contains(char::is_control) {
        return Err(format!("{text:?} has control characters in it"));
    }
    let parts: Vec<&str> = text.split('/').filter(|part| !matches!(*part, "" | ".")).collect();
    if parts.contains(&"..") {
        return Err(format!("`{text}` has `..` in it; write where that leads"));
    }
    if text.replace(USER, "").contains(['{', '}']) {
        return Err(format!("`{text}` has braces in it; `{USER}` is all that may stand in them"));
    }
    Ok(parts)
}

fn absolute(text: &str) -> Result<String, String> {
    if !text.starts_with('/') {
        return Err(format!("`{text}` is not an absolute path; write it from the root on, e.g. `/data`"));
    }
    parts(text).map(|parts| format!("/{}", parts.join("/")))
}

fn mount_path(text: &str) -> Result<String, String> {
    let path = absolute(text)?;
    match path.as_str() {
        "/" => Err("`/` would hide all that is in the image; mount below it".to_owned()),
        SHARED_MEMORY => Err(format!("`{text}` is every worker's shared memory; mount elsewhere")),
        path if path.contains(':') => {
            Err(format!("`{text}` has a `:` in it, which Kubernetes takes in no mount's path"))
        }
        _ => Ok(path),
    }
}

fn sub_path(text: &str) -> Result<String, String> {
    if text.starts_with('/') {
        return Err(format!("`{text}` is absolute; write it as seen from what is mounted, e.g. `home/{USER}`"));
    }
    match parts(text)? {
        parts if parts.is_empty() => Err(format!("`{text}` leads nowhere; leave it out to mount all")),
        parts => Ok(parts.join("/")),
    }
}

/// A directory that an NFS server exports: `server:/path`, where `{user}` may stand for the task's owner.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub struct NfsExport {
    /// The server's name or address.
    pub server: String,
    /// The directory there.
    pub path: UserPath,
}

impl Setting for NfsExport {
    fn read(raw: Raw<'_>) -> Result<Self, String> {
        let text = raw.text("an NFS server and a path in quotes, e.g. \"nas.lab:/exports/shared\"")?;
        let plain = |c: char| c.is_ascii_alphanumeric() || matches!(c, '-' | '.' | '_' | ':' | '[' | ']');
        match text.split_once(":/") {
            Some((server, path)) if !server.is_empty() && server.chars().all(plain) => {
                let path = absolute(&format!("/{path}")).map(UserPath)?;
                Ok(NfsExport { server: server.to_owned(), path })
            }
            _ => Err(format!("`{text}` is not an NFS server and a path; write e.g. `nas.lab:/exports/shared`")),
        }
    }
    fn show(&self) -> String {
        quoted(&format!("{}:{}", self.server, self.path.as_str()))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn read<T: Setting>(text: &str) -> Result<String, String> {
        T::read(Raw::Text(text)).map(|value| value.show().trim_matches('"').to_owned())
    }

    #[test]
    fn names_are_what_kubernetes_takes() {
        let long = "a".repeat(63);
        for good in ["hai", "a-1", "0", &long] {
            assert_eq!(read::<DnsLabel>(good), Ok(good.to_owned()));
        }
        for bad in ["", "-a", "a-", "A", "a.b", "a_b", "ä", &"a".repeat(64)] {
            assert!(read::<DnsLabel>(bad).is_err(), "{bad}");
        }
        assert!(read::<Instance>("hai-lab").is_ok() && read::<Instance>(&"a".repeat(20)).is_ok());
        assert!(read::<Instance>("0hai").is_err() && read::<Instance>(&"a".repeat(21)).is_err());
        assert!(read::<ObjectName>("nvidia").is_ok() && read::<ObjectName>("a.b-c.d").is_ok());
        assert!(read::<ObjectName>("a..b").is_err() && read::<ObjectName>("a_b").is_err());
        for good in ["hai_mars_group", "nvidia.com/gpu", "topology.kubernetes.io/zone", "A.b-C_d"] {
            assert_eq!(read::<LabelKey>(good), Ok(good.to_owned()));
        }
        for bad in ["", "/a", "a/", "a/b/c", "A.com/b", "_a", "a b"] {
            assert!(read::<LabelKey>(bad).is_err(), "{bad}");
        }
        for good in ["train", "Registry.lab:5000/team/train:V3", "localhost/a", "a/b@sha256:00ff", "a/b:1@sha256:00ff"]
        {
            assert_eq!(read::<Image>(good), Ok(good.to_owned()));
        }
        for bad in [
            "",
            "a b",
            "Train:3",
            "lab/Team/train",
            "docker://train",
            "lab/:3",
            "train:",
            "a:b/c",
            "a.b:c/d",
            "a//b",
            "/a",
        ] {
            assert!(read::<Image>(bad).is_err(), "{bad}");
        }
    }

    #[test]
    fn a_server_is_reached_by_a_url() {
        for (text, kept) in [
            ("http://hai.hai.svc:8420", "http://hai.hai.svc:8420"),
            ("https://hai.lab/", "https://hai.lab"),
            ("http://[fd00::1]:8420/hai", "http://[fd00::1]:8420/hai"),
            ("http://[fd00::1]", "http://[fd00::1]"),
        ] {
            assert_eq!(read::<ServerUrl>(text), Ok(kept.to_owned()));
        }
        for bad in [
            "hai.svc:8420",
            "http://",
            "http://:80",
            "http://a:",
            "http://a:99999",
            "http://a b",
            "ftp://a",
            "http:///x",
        ] {
            assert!(read::<ServerUrl>(bad).is_err(), "{bad}");
        }
    }

    #[test]
    fn paths_are_kept_in_their_shortest_form_and_lead_nowhere_else() {
        for (text, kept) in
            [("/a//b/./c/", "/a/b/c"), ("/", "/"), ("/a..b/...", "/a..b/..."), ("/home/{user}", "/home/{user}")]
        {
            assert_eq!(read::<UserPath>(text), Ok(kept.to_owned()));
        }
        for bad in ["", "a", "./a", "/a/..", "/../a", "/a/{usr}", "/a/{user", "/a/{{user}}", "/a\n"] {
            assert!(read::<UserPath>(bad).is_err(), "{bad}");
        }
        assert!(read::<AbsolutePath>("/a/b").is_ok() && read::<AbsolutePath>("/home/{user}").is_err());
        assert!(read::<MountPath>("/dev/shm/x").is_ok());
        for bad in ["/", "//", "/dev//shm/", "/a:b"] {
            assert!(read::<MountPath>(bad).is_err(), "{bad}");
        }
        assert_eq!(read::<SubPath>("home/./{user}/"), Ok("home/{user}".to_owned()));
        for bad in ["", ".", "/home", "a/../b"] {
            assert!(read::<SubPath>(bad).is_err(), "{bad}");
        }
        for (text, kept) in [("nas:/a//{user}", "nas:/a/{user}"), ("[fd00::1]:/", "[fd00::1]:/")] {
            assert_eq!(read::<NfsExport>(text), Ok(kept.to_owned()));
        }
        for bad in ["nas", "nas:", "nas:a", ":/a", "n s:/a", "/a", "nas:/a/../b"] {
            assert!(read::<NfsExport>(bad).is_err(), "{bad}");
        }
    }
}
