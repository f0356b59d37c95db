//! The page for people: plain files that the program carries, and signing in to it. All else that it shows and does is API v1.
//!
//! It lives below `/studio/`; every path there that is no file is the page itself, which finds its way by the path. Files have
//! the digest of all of them in their path, so that browsers keep them for as long as they are the same. A debug build reads
//! them from the sources each time, so that who works on the page need not build.

pub(crate) mod session;
mod sign_in;

use std::fmt::Write as _;
use std::sync::LazyLock;

use axum::Router;
use axum::extract::Path;
use axum::http::{HeaderMap, HeaderName, HeaderValue, StatusCode, header};
use axum::response::{IntoResponse as _, Redirect, Response};
use axum::routing::{get, post};
use rust_embed::Embed;
use sha2::{Digest as _, Sha256};

use crate::api::ApiState;
use crate::api::problem::{ApiError, Kind};

/// Where the page is.
pub(crate) const HOME: &str = "/studio/";
const INDEX: &str = "index.html";
/// Stands in the page for the digest.
const VERSION_MARK: &str = "{version}";
/// Nothing but what this server has is loaded or asked, and nobody frames it.
const POLICY: &str = "default-src 'none'; script-src 'self'; style-src 'self'; img-src 'self' data:; connect-src 'self'; \
                      form-action 'self'; frame-ancestors 'none'; base-uri 'none'";

#[derive(Embed)]
#[folder = "src/web/assets"]
struct Assets;

/// Changes with any file.
static VERSION: LazyLock<String> = LazyLock::new(|| {
    let mut names: Vec<_> = Assets::iter().collect();
    names.sort();
    let mut digest = Sha256::new();
    for name in names {
        digest.update(name.as_bytes());
        digest.update(Assets::get(&name).map(|file| file.metadata.sha256_hash()).unwrap_or_default());
    }
    digest.finalize().iter().take(8).fold(String::new(), |mut text, byte| {
        // Writing into a string can not fail.
        let _ = write!(text, "{byte:02x}");
        text
    })
});

/// The page and what signs people in.
pub(crate) fn routes() -> Router<ApiState> {
    Router::new()
        .route(session::SIGN_IN, post(sign_in::sign_in))
        .route(session::SIGN_OUT, post(sign_in::sign_out))
        .route(session::SESSION, get(sign_in::show))
        .route("/studio", get(|| std::future::ready(Redirect::permanent(HOME))))
        .route("/studio/", get(page))
        .route("/studio/assets/{version}/{*name}", get(asset))
        .route("/studio/{*rest}", get(page))
}

async fn page(headers: HeaderMap) -> Response {
    let Some(file) = Assets::get(INDEX) else {
        return ApiError::new(Kind::NotFound, "this build has no page").into_response();
    };
    let text = String::from_utf8_lossy(&file.data).replace(VERSION_MARK, version());
    let tag = format!("\"{}\"", version());
    answer(&headers, &tag, "no-cache", "text/html; charset=utf-8", text.into_bytes())
}

async fn asset(headers: HeaderMap, Path((asked, name)): Path<(String, String)>) -> Response {
    let Some(file) = Assets::get(&name) else {
        let detail = format!("the page has no file {name}; load the page again if it was open for long");
        return ApiError::new(Kind::NotFound, detail).into_response();
    };
    let hash = file.metadata.sha256_hash();
    let tag = hash.iter().take(16).fold("\"".to_owned(), |mut text, byte| {
        let _ = write!(text, "{byte:02x}");
        text
    }) + "\"";
    let same = asked == version() && !cfg!(debug_assertions);
    let keep = if same { "public, max-age=31536000, immutable" } else { "no-cache" };
    answer(&headers, &tag, keep, media_type(&name), file.data.into_owned())
}

/// The files' common name; in debug builds they may change while the server runs.
fn version() -> &'static str {
    if cfg!(debug_assertions) { "live" } else { &VERSION }
}

fn media_type(name: &str) -> &'static str {
    match name.rsplit_once('.').map_or("", |(_, extension)| extension) {
        "js" => "text/javascript; charset=utf-8",
        "css" => "text/css; charset=utf-8",
        "svg" => "image/svg+xml",
        "html" => "text/html; charset=utf-8",
        _ => "text/plain; charset=utf-8",
    }
}

fn answer(asked: &HeaderMap, tag: &str, keep: &'static str, media_type: &'static str, body: Vec<u8>) -> Response {
    let known = asked.get(header::IF_NONE_MATCH).and_then(|value| value.to_str().ok()).unwrap_or_default();
    // The page of a debug build has one tag whatever is in it.
    let is_known = known.split(',').any(|known| known.trim() == tag) && tag != "\"live\"";
    let mut response = if is_known { StatusCode::NOT_MODIFIED.into_response() } else { body.into_response() };
    let headers = response.headers_mut();
    for (name, value) in [
        (header::CONTENT_TYPE, media_type),
        (header::CACHE_CONTROL, keep),
        (header::CONTENT_SECURITY_POLICY, POLICY),
        (header::REFERRER_POLICY, "no-referrer"),
        (header::X_CONTENT_TYPE_OPTIONS, "nosniff"),
        (HeaderName::from_static("cross-origin-opener-policy"), "same-origin"),
        (HeaderName::from_static("cross-origin-resource-policy"), "same-origin"),
    ] {
        headers.insert(name, HeaderValue::from_static(value));
    }
    if let Ok(tag) = HeaderValue::from_str(tag) {
        headers.insert(header::ETAG, tag);
    }
    response
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_page_names_its_files_by_their_digest_and_has_nothing_inline() {
        let file = Assets::get(INDEX).expect("the page");
        let text = String::from_utf8(file.data.into_owned()).expect("text");
        assert!(text.contains(&format!("/studio/assets/{VERSION_MARK}/main.js")), "{text}");
        assert!(!text.contains("style=") && !text.contains("<style") && !text.contains("onclick"), "{text}");
        let scripts = text.matches("<script").count();
        assert_eq!(scripts, text.matches("<script type=\"module\" src=").count(), "{text}");
    }

    #[test]
    fn everything_vendored_is_named_with_its_licence() {
        let listed = include_str!("assets/vendor/VENDORED.md");
        for name in Assets::iter()
            .filter_map(|name| name.strip_prefix("vendor/").map(str::to_owned))
            .filter(|name| !name.ends_with(".md"))
        {
            assert!(listed.contains(&name), "VENDORED.md does not name {name}");
        }
    }

    #[test]
    fn a_file_that_is_known_is_not_sent_again() {
        let mut asked = HeaderMap::new();
        let first = answer(&asked, "\"a\"", "no-cache", media_type("a.js"), b"1".to_vec());
        asked.insert(header::IF_NONE_MATCH, first.headers()[header::ETAG].clone());
        assert_eq!(answer(&asked, "\"a\"", "no-cache", "text/plain", b"1".to_vec()).status(), StatusCode::NOT_MODIFIED);
        assert_eq!(answer(&asked, "\"b\"", "no-cache", "text/plain", b"2".to_vec()).status(), StatusCode::OK);
    }
}
