//! Who is asking: a bearer token becomes a user, and so does the cookie of the page.

use std::future::Future;
use std::pin::Pin;
use std::time::Instant;

use axum::extract::FromRequestParts;
use axum::http::request::Parts;
use axum::http::{HeaderValue, header};
use hai_core::model::{NodeName, UserName};

use super::ApiState;
use super::problem::{ApiError, Kind};
use crate::store::{Role, User};
use crate::web::session::{CSRF, Cookie};

/// Whoever sent the request; never an agent.
#[derive(Clone, Debug)]
pub(crate) struct Caller {
    pub(crate) user: User,
}

/// An operator who sent the request.
#[derive(Clone, Debug)]
pub(super) struct Operator(pub(super) Caller);

/// Somebody who may report devices: an agent, or an operator.
#[derive(Clone, Debug)]
pub(super) struct Reporter {
    /// The one node that it may speak of; any if there is none.
    pub(super) node: Option<NodeName>,
}

/// The way from the API to who knows agents by tokens that are not hai's own, which `main` fills in.
pub trait Agents: std::fmt::Debug + Send + Sync + 'static {
    /// The node of the agent that has this token; an error says why that can not be told.
    fn node_of(&self, token: &str) -> Pin<Box<dyn Future<Output = Result<Option<NodeName>, String>> + Send>>;
}

impl Caller {
    pub(super) fn is_operator(&self) -> bool {
        self.user.role == Role::Operator
    }

    /// Whether tasks of `owner` may be seen and touched.
    pub(super) fn may_see(&self, owner: &UserName) -> bool {
        self.is_operator() || self.user.name == *owner
    }

    /// The one user whose tasks may be seen; `None` if those of all may.
    pub(super) fn sees_only(&self) -> Option<&UserName> {
        (!self.is_operator()).then_some(&self.user.name)
    }

    /// A problem unless it is an operator: `what` says what only they may do, and in which field.
    pub(super) fn must_be_operator(&self, field: &'static str, what: &str) -> Result<(), ApiError> {
        if self.is_operator() {
            return Ok(());
        }
        Err(ApiError::new(Kind::Forbidden, format!("{field}: only an operator may {what}")).at(field))
    }
}

impl FromRequestParts<ApiState> for Caller {
    type Rejection = ApiError;

    async fn from_request_parts(parts: &mut Parts, state: &ApiState) -> Result<Self, ApiError> {
        let user = authenticate(parts, state).await?;
        if user.role == Role::Agent {
            let detail = format!("{} is an agent, whose token does nothing but report the devices of nodes", user.name);
            return Err(ApiError::new(Kind::Forbidden, detail));
        }
        Ok(Caller { user })
    }
}

impl FromRequestParts<ApiState> for Reporter {
    type Rejection = ApiError;

    async fn from_request_parts(parts: &mut Parts, state: &ApiState) -> Result<Self, ApiError> {
        let token = parts.headers.get(header::AUTHORIZATION).and_then(|value| bearer(value.to_str().ok()?));
        if let (Some(agents), Some(token)) = (&state.agents, token) {
            let node = agents.node_of(token).await.map_err(|problem| ApiError::new(Kind::Unavailable, problem))?;
            if node.is_some() {
                return Ok(Reporter { node });
            }
        }
        let user = authenticate(parts, state).await?;
        if user.role == Role::User {
            let detail = format!("only an agent or an operator may report devices, and {} is neither", user.name);
            return Err(ApiError::new(Kind::Forbidden, detail));
        }
        Ok(Reporter { node: None })
    }
}

/// Whose token the request carries.
async fn authenticate(parts: &Parts, state: &ApiState) -> Result<User, ApiError> {
    let header = parts.headers.get(header::AUTHORIZATION);
    let Some(header) = header else {
        if let Some(cookie) = Cookie::of(&parts.headers) {
            return by_cookie(parts, state, &cookie).await;
        }
        return Err(unauthorized("no token; send `Authorization: Bearer` and the token", "Bearer realm=\"hai\""));
    };
    let token = header.to_str().ok().and_then(bearer);
    let user = match token {
        Some(token) => state.accounts.authenticate(token).await?,
        None => None,
    };
    if let Some(user) = &user {
        state.seen.note(&user.name);
    }
    user.ok_or_else(|| {
        unauthorized(
            "the token opens nothing; it may have been replaced or its user removed",
            "Bearer realm=\"hai\", error=\"invalid_token\"",
        )
    })
}

/// Who signed in to the page and got this cookie. Browsers send it along whoever made the page that asks, so a change has to
/// show besides that it comes from hai's own page.
async fn by_cookie(parts: &Parts, state: &ApiState, cookie: &Cookie) -> Result<User, ApiError> {
    if !parts.method.is_safe() && !cookie.vouches_for(&parts.headers) {
        let detail = format!("a change with the page's cookie needs the header {CSRF} as GET /studio/session tells it");
        return Err(ApiError::new(Kind::NotFromPage, detail).at(CSRF));
    }
    let user = match state.sessions.find(cookie, Instant::now()) {
        Some(token) => state.accounts.by_hash(&token).await?,
        // Who is signed in is known to the leader alone, which could not be asked.
        None if state.leader.is_some() => return Err(state.stands_by()),
        None => None,
    };
    if let Some(user) = &user {
        state.seen.note(&user.name);
    }
    user.ok_or_else(|| unauthorized("you are not signed in any more; sign in again", "Bearer realm=\"hai\""))
}

pub(super) fn bearer(header: &str) -> Option<&str> {
    let (scheme, token) = header.trim().split_once(' ')?;
    scheme.eq_ignore_ascii_case("bearer").then(|| token.trim())
}

fn unauthorized(detail: &str, challenge: &'static str) -> ApiError {
    ApiError::new(Kind::Unauthorized, detail)
        .at("authorization")
        .with_header(header::WWW_AUTHENTICATE, HeaderValue::from_static(challenge))
}

impl FromRequestParts<ApiState> for Operator {
    type Rejection = ApiError;

    async fn from_request_parts(parts: &mut Parts, state: &ApiState) -> Result<Self, ApiError> {
        let caller = Caller::from_request_parts(parts, state).await?;
        if caller.is_operator() {
            return Ok(Operator(caller));
        }
        let detail = format!("only an operator may do that, and {} is none", caller.user.name);
        Err(ApiError::new(Kind::Forbidden, detail))
    }
}

#[cfg(test)]
mod tests {
    use super::bearer;

    #[test]
    fn only_bearer_tokens_are_taken() {
        assert_eq!(bearer("Bearer abc"), Some("abc"));
        assert_eq!(bearer("bearer  abc "), Some("abc"));
        for wrong in ["abc", "Basic abc", "Bearer", ""] {
            assert_eq!(bearer(wrong), None, "{wrong}");
        }
    }
}
