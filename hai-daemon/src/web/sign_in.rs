//! Signing in to the page with a token, and out again.

use std::time::Instant;

use axum::Json;
use axum::extract::State;
use axum::http::{HeaderMap, HeaderValue, StatusCode, header};
use axum::response::{IntoResponse as _, Response};
use serde::{Deserialize, Serialize};

use super::session::{self, Cookie};
use crate::api::ApiState;
use crate::api::auth::Caller;
use crate::api::extract::Body;
use crate::api::problem::{ApiError, Kind};
use crate::api::wire::User;
use crate::store::{Accounts, Role};

#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub(super) struct SignIn {
    token: String,
}

/// Who is signed in, and what their changes have to carry.
#[derive(Debug, Serialize)]
struct SignedIn {
    user: User,
    csrf: Option<String>,
    version: &'static str,
}

/// A token for a cookie.
pub(super) async fn sign_in(
    State(state): State<ApiState>,
    headers: HeaderMap,
    Body(wanted): Body<SignIn>,
) -> Result<Response, ApiError> {
    if headers.get("sec-fetch-site").is_some_and(|site| site != "same-origin" && site != "none") {
        let detail = "another page may not sign anybody in; open hai's own";
        return Err(ApiError::new(Kind::NotFromPage, detail));
    }
    let token = wanted.token.trim();
    let (Some(user), Some(hash)) = (state.accounts.authenticate(token).await?, Accounts::hash(token)) else {
        let detail = "the token opens nothing; it may have been replaced or its user removed";
        return Err(ApiError::new(Kind::Unauthorized, detail).at("token"));
    };
    if user.role == Role::Agent {
        let detail = format!("{} is an agent, whose token does nothing but report the devices of nodes", user.name);
        return Err(ApiError::new(Kind::Forbidden, detail).at("token"));
    }
    let begun = state.sessions.begin(hash, Instant::now());
    let cookie = begun.map_err(|error| ApiError::internal("a session could not be begun", &error))?;
    let signed_in = signed_in(User::from(&user), Some(&cookie));
    Ok(with_cookie(Json(signed_in).into_response(), cookie.set(session::is_secure(&headers))))
}

/// The cookie opens nothing any more.
pub(super) async fn sign_out(State(state): State<ApiState>, headers: HeaderMap, _: Caller) -> Response {
    if let Some(cookie) = Cookie::of(&headers) {
        state.sessions.end(&cookie);
    }
    with_cookie(StatusCode::NO_CONTENT.into_response(), session::unset(session::is_secure(&headers)))
}

/// Who is signed in; `null` if nobody is, which is no fault of who asks.
pub(super) async fn show(headers: HeaderMap, caller: Result<Caller, ApiError>) -> Result<Response, ApiError> {
    let said = match caller {
        Ok(caller) => Some(signed_in(User::from(&caller.user), Cookie::of(&headers).as_ref())),
        Err(error) if error.kind() == Kind::Unauthorized => None,
        Err(error) => return Err(error),
    };
    Ok(Json(said).into_response())
}

fn signed_in(user: User, cookie: Option<&Cookie>) -> SignedIn {
    SignedIn { user, csrf: cookie.map(Cookie::csrf), version: env!("CARGO_PKG_VERSION") }
}

fn with_cookie(mut response: Response, cookie: Option<HeaderValue>) -> Response {
    if let Some(cookie) = cookie {
        response.headers_mut().insert(header::SET_COOKIE, cookie);
    }
    response
}
