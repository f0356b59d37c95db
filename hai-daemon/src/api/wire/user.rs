//! Users, their roles and their tokens.

use chrono::{DateTime, Utc};
use hai_core::model::UserName;
use serde::{Deserialize, Serialize};
use utoipa::ToSchema;

/// What a user may do.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
#[serde(rename_all = "snake_case")]
pub enum Role {
    /// Sees and touches their own tasks.
    #[default]
    User,
    /// Sees and touches everything.
    Operator,
    /// Reports the devices of nodes, and may do nothing else.
    Agent,
}

/// A person (or robot) who may use the API.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
pub struct User {
    /// The name.
    #[schema(value_type = String, examples("alice"))]
    pub name: UserName,
    /// What they may do.
    pub role: Role,
    /// When they were added.
    pub created_at: DateTime<Utc>,
    /// When their token was last used, since the server started; `null` if it was not. It is kept in memory alone.
    #[serde(default)]
    pub last_seen: Option<DateTime<Utc>>,
    /// They were removed: their token opens nothing. The name stays, as tasks carry it.
    pub removed: bool,
}

/// All users, by name, those who were removed included.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
pub struct UserList {
    /// The users.
    pub users: Vec<User>,
}

/// A user to be added.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
pub struct NewUser {
    /// The name: letters, digits and `-` `_` `.` `@`, at most 253 bytes.
    #[schema(value_type = String, examples("alice"))]
    pub name: UserName,
    /// What they may do.
    #[serde(default)]
    pub role: Role,
}

/// A user and their new token, which is shown this once: only its hash is kept.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
pub struct NewToken {
    /// The name.
    #[schema(value_type = String, examples("alice"))]
    pub name: UserName,
    /// What they may do.
    pub role: Role,
    /// The token, for `Authorization: Bearer`.
    pub token: String,
}

impl Role {
    /// The role in one word, as in JSON.
    #[must_use]
    pub const fn word(self) -> &'static str {
        match self {
            Role::User => "user",
            Role::Operator => "operator",
            Role::Agent => "agent",
        }
    }
}

impl std::str::FromStr for Role {
    type Err = String;
    fn from_str(text: &str) -> Result<Self, String> {
        match text {
            "user" => Ok(Role::User),
            "operator" => Ok(Role::Operator),
            "agent" => Ok(Role::Agent),
            _ => Err(format!("`{text}` is not a role; the roles are user, operator and agent")),
        }
    }
}
