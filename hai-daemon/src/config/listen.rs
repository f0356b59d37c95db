//! Where the daemon listens, checked before anybody tries.

use super::value::{Raw, Setting, quoted};

/// Where to listen: a host or address, and a port (0 for any that is free).
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Listen(String);

impl Listen {
    /// The default: this machine alone.
    pub const DEFAULT: &'static str = "127.0.0.1:8420";

    /// As `host:port`.
    #[must_use]
    pub fn as_str(&self) -> &str {
        &self.0
    }
}

impl Default for Listen {
    fn default() -> Self {
        Listen(Self::DEFAULT.to_owned())
    }
}

impl Setting for Listen {
    fn read(raw: Raw<'_>) -> Result<Self, String> {
        let text = raw.text("an address with a port in quotes, e.g. \"127.0.0.1:8420\"")?;
        if text.parse::<std::net::SocketAddr>().is_ok() {
            return Ok(Listen(text.to_owned()));
        }
        if text.parse::<std::net::Ipv6Addr>().is_ok() {
            return Err(format!("`{text}` has no port; write e.g. `[{text}]:8420`"));
        }
        let Some((host, port)) = text.rsplit_once(':') else {
            let host = if text.is_empty() { "127.0.0.1" } else { text };
            return Err(format!("`{text}` has no port; write e.g. `{host}:8420`"));
        };
        if port.is_empty() || !port.bytes().all(|c| c.is_ascii_digit()) || port.parse::<u16>().is_err() {
            return Err(format!("`{port}` is not a port; ports are numbers from 0 to 65535"));
        }
        let named = |c: char| c.is_ascii_alphanumeric() || matches!(c, '-' | '.' | '_');
        if host.is_empty() || !host.chars().all(named) {
            return Err(format!("`{host}` is not an address or a host's name; write e.g. `127.0.0.1:{port}`"));
        }
        Ok(Listen(text.to_owned()))
    }
    fn show(&self) -> String {
        quoted(&self.0)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn listen(text: &str) -> Result<String, String> {
        Listen::read(Raw::Text(text)).map(|listen| listen.0)
    }

    #[test]
    fn an_address_needs_a_host_and_a_port() {
        for good in ["127.0.0.1:0", "[::1]:8420", "localhost:80", "gpu-1.lab:8420", "0.0.0.0:65535"] {
            assert_eq!(listen(good), Ok(good.to_owned()));
        }
        assert_eq!(listen("127.0.0.1").unwrap_err(), "`127.0.0.1` has no port; write e.g. `127.0.0.1:8420`");
        assert_eq!(listen("::1").unwrap_err(), "`::1` has no port; write e.g. `[::1]:8420`");
        assert_eq!(listen("host:99999").unwrap_err(), "`99999` is not a port; ports are numbers from 0 to 65535");
        assert_eq!(listen("host:+80").unwrap_err(), "`+80` is not a port; ports are numbers from 0 to 65535");
        assert!(listen(":80").is_err() && listen("").is_err() && listen("a b:1").is_err());
    }
}
