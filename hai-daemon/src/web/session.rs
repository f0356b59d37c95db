//! Who is signed in to the page: random names in cookies, kept as hashes, bounded, in memory alone.
//!
//! The cookie is no token: it opens nothing once its owner signed out, the token behind it was replaced, or it was not used
//! for a while. Nothing is stored, since people lose nothing but a moment: a daemon that starts, or takes over, asks them to
//! sign in again.

use std::collections::BTreeMap;
use std::fmt::Write as _;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::{Duration, Instant};

use axum::http::{HeaderMap, HeaderValue, header};
use sha2::{Digest as _, Sha256};
use subtle::ConstantTimeEq as _;

use crate::store::TokenHash;

/// The header that a change carries besides the cookie.
pub(crate) const CSRF: &str = "x-hai-csrf";
/// What is asked of sessions themselves.
pub(super) const SIGN_IN: &str = "/studio/sign-in";
pub(super) const SIGN_OUT: &str = "/studio/sign-out";
pub(super) const SESSION: &str = "/studio/session";
const NAME: &str = "hai-session";
const SECRET_BYTES: usize = 32;
/// More than people who use one daemon have browsers.
const SESSIONS_MAX: usize = 4096;
/// Who did nothing for so long has gone.
const IDLE_MAX: Duration = Duration::from_secs(12 * 3600);
/// How long a session lasts at most.
const LIFE_MAX: Duration = Duration::from_secs(7 * 24 * 3600);

/// What the browser keeps; can not be printed by accident.
#[derive(Clone, PartialEq, Eq)]
pub(crate) struct Cookie(String);

/// Everybody who is signed in; cheap to clone, and clones know the same.
#[derive(Clone, Debug, Default)]
pub(crate) struct Sessions(Arc<Mutex<BTreeMap<[u8; 32], Session>>>);

#[derive(Debug)]
struct Session {
    token: TokenHash,
    since: Instant,
    used: Instant,
}

impl std::fmt::Debug for Cookie {
    fn fmt(&self, formatter: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        formatter.write_str("Cookie(..)")
    }
}

/// Whether the path is about sessions, of which the leading daemon alone knows.
pub(crate) fn is_about(path: &str) -> bool {
    [SIGN_IN, SIGN_OUT, SESSION].contains(&path)
}

/// Whether a request has nothing but the cookie to show who asks.
pub(crate) fn alone(headers: &HeaderMap) -> bool {
    !headers.contains_key(header::AUTHORIZATION) && Cookie::of(headers).is_some()
}

impl Cookie {
    fn random() -> Result<Self, getrandom::Error> {
        let mut bytes = [0; SECRET_BYTES];
        getrandom::fill(&mut bytes)?;
        Ok(Cookie(hexadecimal(&bytes)))
    }

    /// The one in these headers.
    pub(crate) fn of(headers: &HeaderMap) -> Option<Self> {
        let pairs = headers.get_all(header::COOKIE).iter().filter_map(|value| value.to_str().ok());
        let mut values = pairs.flat_map(|pairs| pairs.split(';')).filter_map(|pair| {
            let (name, value) = pair.trim().split_once('=')?;
            (name == NAME).then_some(value)
        });
        let fits = |value: &&str| value.len() == 2 * SECRET_BYTES && value.bytes().all(|byte| byte.is_ascii_hexdigit());
        values.find(fits).map(|value| Cookie(value.to_owned()))
    }

    /// What shows that a change comes from a page that could read what this server said, which no other page can.
    pub(super) fn csrf(&self) -> String {
        hexadecimal(&Sha256::digest(format!("hai {CSRF} {}", self.0)))
    }

    /// Whether the header of a change is there and right.
    pub(crate) fn vouches_for(&self, headers: &HeaderMap) -> bool {
        headers.get(CSRF).is_some_and(|said| said.as_bytes().ct_eq(self.csrf().as_bytes()).into())
    }

    /// The header that hands it to the browser.
    pub(super) fn set(&self, secure: bool) -> Option<HeaderValue> {
        header_value(&self.0, LIFE_MAX.as_secs(), secure)
    }

    fn hash(&self) -> [u8; 32] {
        Sha256::digest(&self.0).into()
    }
}

/// The header that takes the cookie back.
pub(super) fn unset(secure: bool) -> Option<HeaderValue> {
    header_value("", 0, secure)
}

fn header_value(value: &str, seconds: u64, secure: bool) -> Option<HeaderValue> {
    let secure = if secure { "; Secure" } else { "" };
    let text = format!("{NAME}={value}; Path=/; HttpOnly; SameSite=Strict; Max-Age={seconds}{secure}");
    HeaderValue::from_str(&text).ok()
}

/// Whether the browser speaks TLS to what stands before this server, as that says: this server itself speaks none.
pub(super) fn is_secure(headers: &HeaderMap) -> bool {
    let said = headers.get("x-forwarded-proto").and_then(|value| value.to_str().ok()).unwrap_or_default();
    let forwarded = headers.get(header::FORWARDED).and_then(|value| value.to_str().ok()).unwrap_or_default();
    said.split(',').next().is_some_and(|first| first.trim().eq_ignore_ascii_case("https"))
        || forwarded.to_ascii_lowercase().split([';', ',']).any(|part| part.trim().trim_matches('"') == "proto=https")
}

impl Sessions {
    /// Somebody signs in with a token that opens.
    ///
    /// # Errors
    /// The operating system gives no random bits.
    pub(super) fn begin(&self, token: TokenHash, now: Instant) -> Result<Cookie, getrandom::Error> {
        let cookie = Cookie::random()?;
        let mut sessions = self.sessions();
        sessions.retain(|_, session| session.lives(now));
        if sessions.len() >= SESSIONS_MAX {
            let idlest = sessions.iter().min_by_key(|(_, session)| session.used).map(|(hash, _)| *hash);
            idlest.and_then(|hash| sessions.remove(&hash));
        }
        sessions.insert(cookie.hash(), Session { token, since: now, used: now });
        Ok(cookie)
    }

    /// Whose cookie it is, as the hash of their token, which may have been replaced since.
    pub(crate) fn find(&self, cookie: &Cookie, now: Instant) -> Option<TokenHash> {
        let mut sessions = self.sessions();
        let session = sessions.get_mut(&cookie.hash()).filter(|session| session.lives(now))?;
        session.used = now;
        Some(session.token.clone())
    }

    /// Somebody signs out.
    pub(super) fn end(&self, cookie: &Cookie) {
        self.sessions().remove(&cookie.hash());
    }

    fn sessions(&self) -> MutexGuard<'_, BTreeMap<[u8; 32], Session>> {
        // A panic elsewhere leaves the map whole: each change is one call.
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Session {
    fn lives(&self, now: Instant) -> bool {
        now.saturating_duration_since(self.used) < IDLE_MAX && now.saturating_duration_since(self.since) < LIFE_MAX
    }
}

fn hexadecimal(bytes: &[u8]) -> String {
    bytes.iter().fold(String::with_capacity(2 * bytes.len()), |mut text, byte| {
        // Writing into a string can not fail.
        let _ = write!(text, "{byte:02x}");
        text
    })
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::store::{Accounts, Token};

    fn token() -> TokenHash {
        Accounts::hash(Token::random().expect("random bits").as_str()).expect("a token")
    }

    fn headers(name: &'static str, value: &str) -> HeaderMap {
        let mut headers = HeaderMap::new();
        headers.insert(name, value.parse().expect("a header"));
        headers
    }

    #[test]
    fn a_cookie_opens_until_it_is_ended_left_alone_or_old() {
        let (sessions, begin) = (Sessions::default(), Instant::now());
        let token = token();
        let cookie = sessions.begin(token.clone(), begin).expect("random bits");
        let hour = Duration::from_secs(3600);
        assert_eq!(sessions.find(&cookie, begin + 11 * hour), Some(token.clone()));
        assert_eq!(sessions.find(&cookie, begin + 22 * hour), Some(token.clone()), "it was used");
        assert_eq!(sessions.find(&cookie, begin + 35 * hour), None, "it was not used");
        let busy = sessions.begin(token, begin).expect("random bits");
        for hours in 1..(7 * 24) {
            assert!(sessions.find(&busy, begin + hours * hour).is_some(), "{hours}");
        }
        assert_eq!(sessions.find(&busy, begin + 7 * 24 * hour), None, "it is old");
        let ended = sessions.begin(super::tests::token(), begin).expect("random bits");
        sessions.end(&ended);
        assert_eq!(sessions.find(&ended, begin), None);
    }

    #[test]
    fn sessions_are_bounded_and_the_one_used_longest_ago_goes() {
        let (sessions, begin, token) = (Sessions::default(), Instant::now(), token());
        let at = |index: usize| begin + Duration::from_millis(index as u64);
        let cookies: Vec<Cookie> =
            (0..=SESSIONS_MAX).map(|index| sessions.begin(token.clone(), at(index)).expect("random bits")).collect();
        assert_eq!(sessions.sessions().len(), SESSIONS_MAX);
        assert!(sessions.find(&cookies[0], at(SESSIONS_MAX)).is_none());
        assert!(sessions.find(&cookies[1], at(SESSIONS_MAX)).is_some());
    }

    #[test]
    fn the_cookie_is_found_among_others_and_vouches_only_with_its_own_header() {
        let cookie = Cookie::random().expect("random bits");
        let found = Cookie::of(&headers("cookie", &format!("a=b; {NAME}={}; c=d", cookie.0)));
        assert_eq!(found.as_ref(), Some(&cookie));
        for wrong in ["", "hai-session", "hai-session=", "hai-session=zz", "xhai-session=00"] {
            assert_eq!(Cookie::of(&headers("cookie", wrong)), None, "{wrong}");
        }
        assert!(cookie.vouches_for(&headers(CSRF, &cookie.csrf())));
        let other = Cookie::random().expect("random bits");
        assert!(!cookie.vouches_for(&headers(CSRF, &other.csrf())) && !cookie.vouches_for(&HeaderMap::new()));
        assert!(!format!("{cookie:?}").contains(&cookie.0));
    }

    #[test]
    fn the_cookie_is_for_this_server_alone() {
        let cookie = Cookie::random().expect("random bits");
        let plain = cookie.set(false).expect("a header");
        let plain = plain.to_str().expect("text");
        assert!(
            plain.contains("; HttpOnly; SameSite=Strict") && plain.contains("; Path=/;") && !plain.contains("Secure")
        );
        assert!(cookie.set(true).expect("a header").to_str().expect("text").ends_with("; Secure"));
        assert!(
            is_secure(&headers("x-forwarded-proto", "https")) && is_secure(&headers("forwarded", "for=a;Proto=https"))
        );
        assert!(!is_secure(&HeaderMap::new()) && !is_secure(&headers("x-forwarded-proto", "http")));
    }
}
