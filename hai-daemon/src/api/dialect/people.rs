//! Who asks, what they may use, and their token.

use std::collections::{BTreeMap, BTreeSet};

use hai_core::model::{Amount, GroupName, Limit, Priority, UserName};
use serde_json::{Map, Value, json};

use super::args::invalid;
use super::envelope::Reply;
use super::{Ask, task};
use crate::api::problem::{ApiError, Kind};
use crate::store::User;

/// Until when what never ends is said to be good.
const FOR_EVER: &str = "3000-01-01T00:00:00";
/// What stands for no bound, where only numbers are understood.
const NO_BOUND: u64 = 1_000_000;
/// The first number that is nobody's on an ordinary system.
const FIRST_UID: u64 = 10_000;
const SCOPE: &str = "all";

/// `/operating/user/access_token/create`: tokens are made by `hai users add`; who has one has it for everything.
pub(super) async fn create_token(ask: &Ask) -> Result<Reply, ApiError> {
    for field in ["from_user_name", "access_user_name"] {
        if ask.args.text(field).is_some_and(|name| name != ask.caller.user.name.as_str()) {
            return Err(invalid(field, "tokens for the work of others are not offered here"));
        }
    }
    let mut token = token_row(ask);
    if let Value::Object(fields) = &mut token {
        fields.insert("access_token".to_owned(), ask.token.clone().into());
    }
    Ok(Reply::result(token))
}

/// `/query/user/access_token/list`
pub(super) async fn tokens(ask: &Ask) -> Result<Reply, ApiError> {
    Ok(Reply::result(json!({"access_tokens": [token_row(ask)]})))
}

fn token_row(ask: &Ask) -> Value {
    let name = ask.caller.user.name.as_str();
    json!({
        "from_user_name": name,
        "access_user_name": name,
        "access_scope": SCOPE,
        "expire_at": FOR_EVER,
        "active": true,
    })
}

/// `/query/user/info`
pub(super) async fn info(ask: &Ask) -> Result<Reply, ApiError> {
    let users = ask.state.accounts.list().await?;
    let user = &ask.caller.user;
    let teams = teams(ask, &user.name).await?;
    Ok(Reply::result(json!({
        "user_name": user.name.as_str(),
        "nick_name": user.name.as_str(),
        "user_id": user_id(&users, &user.name),
        "shared_group": teams.first().map_or(user.name.as_str(), String::as_str),
        "user_shared_group": teams.first().map_or(user.name.as_str(), String::as_str),
        "role": "internal",
        "access_scope": SCOPE,
        "group_list": teams,
        "user_group": teams,
        "token": ask.token,
    })))
}

/// `/query/user/list_all`
pub(super) async fn all(ask: &Ask) -> Result<Reply, ApiError> {
    ask.caller.must_be_operator("token", "list the users")?;
    let users = ask.state.accounts.list().await?;
    let row = |user: &User| {
        json!({
            "user_name": user.name.as_str(),
            "user_id": user_id(&users, &user.name),
            "role": "internal",
            "active": !user.disabled,
            "created_at": task::local(user.created_at),
        })
    };
    Ok(Reply::result(Value::from(users.iter().map(row).collect::<Vec<_>>())))
}

/// A number that stays: in the order in which users were added. Those who were removed keep theirs.
fn user_id(users: &[User], name: &UserName) -> u64 {
    let mut order: Vec<_> = users.iter().map(|user| (user.created_at, &user.name)).collect();
    order.sort();
    (FIRST_UID..).zip(order).find(|(_, (_, own))| *own == name).map_or(0, |(id, _)| id)
}

async fn teams(ask: &Ask, user: &UserName) -> Result<Vec<String>, ApiError> {
    let user = user.clone();
    let teams = ask.state.scheduler.inspect(move |engine| {
        let own = engine.teams().filter(|team| team.members.contains(&user));
        own.map(|team| team.name.to_string()).collect::<Vec<_>>()
    });
    Ok(teams.await?)
}

/// `/query/user/quota/list`: what the caller may hold in whole nodes, and does.
pub(super) async fn quotas(ask: &Ask) -> Result<Reply, ApiError> {
    let rows = rights(ask, &ask.caller.user.name).await?;
    let (mut quota, mut used) = (Map::new(), Map::new());
    for ((group, level), (may, does)) in rows {
        quota.insert(format!("node-{group}-{level}"), may.into());
        used.insert(format!("{group}-{level}"), does.into());
    }
    Ok(Reply::result(json!({
        "node_quota": quota,
        "used_node_quota": used,
        "node_quota_limit": {},
        "node_quota_limit_extra": {},
        "jupyter_quota": {},
        "port_quota": {},
        "train_environments": [],
        "spot_jupyter": 0,
        "dedicated_jupyter": 0,
        "background_task": 0,
    })))
}

/// `/query/user/training_quota/get_used`: the same, row by row.
pub(super) async fn used(ask: &Ask) -> Result<Reply, ApiError> {
    let rows = rights(ask, &ask.caller.user.name).await?;
    let row = |((group, level), (may, does)): ((GroupName, &str), (u64, u64))| json!({"group": group.as_str(), "priority": level, "quota": may, "used": does, "resource": format!("node-{group}-{level}")});
    Ok(Reply::result(Value::from(rows.into_iter().map(row).collect::<Vec<_>>())))
}

type Rights = BTreeMap<(GroupName, &'static str), (u64, u64)>;

/// Of all groups and levels in which a user may hold a node: how many, and how many they do.
async fn rights(ask: &Ask, user: &UserName) -> Result<Rights, ApiError> {
    let user = user.clone();
    let look = ask.state.scheduler.inspect(move |engine| {
        let groups: BTreeSet<GroupName> = engine.nodes().map(|node| node.spec.group).collect();
        let mut rows = Rights::new();
        for group in groups {
            for level in Priority::LEVELS {
                let may = match engine.right_of(&user, &group, level).nodes {
                    Limit::AtMost(most) => whole(most),
                    Limit::Unlimited => NO_BOUND,
                };
                if may > 0 {
                    let does = whole(engine.held_by(&user, &group, level).nodes);
                    rows.insert((group.clone(), level.name()), (may, does));
                }
            }
        }
        rows
    });
    Ok(look.await?)
}

fn whole(amount: Amount) -> u64 {
    amount.as_milli() / 1000
}

/// `/ugc/user/train_image/list`: images are named at the submission, none are kept here.
pub(super) async fn images(_: &Ask) -> Result<Reply, ApiError> {
    Ok(Reply::result(json!({"mars_images": [], "user_images": []})))
}

/// `/query/user/tag/list`, `/query/user/nodeport/list`: there are none.
pub(super) async fn nothing(_: &Ask) -> Result<Reply, ApiError> {
    Ok(Reply::result(json!([])))
}

/// `/operating/user/training_quota/update`: rights have a door of their own, with a preview.
pub(super) async fn change_quota(ask: &Ask) -> Result<Reply, ApiError> {
    ask.caller.must_be_operator("token", "change rights")?;
    Err(ApiError::new(
        Kind::Conflict,
        "rights are not changed through this interface; use `hai rights set`, or look first with `hai preview`",
    ))
}
