//! Whether what is decided can be stored: in a file on a claim or in a directory, or on a Postgres server.

use std::str::FromStr as _;
use std::time::Duration;

use k8s_openapi::api::core::v1::{PersistentVolumeClaim, Secret};
use kube::{Api, Client};
use sqlx::postgres::{PgConnectOptions, PgDatabaseError};
use sqlx::{ConnectOptions as _, Connection as _, PgConnection};
use tokio::time::timeout;

use super::super::connect::explain;
use super::super::objects::{CLAIM, DATABASE, DATABASE_KEY};
use super::super::{Data, Database, Plan, why};
use super::Check;

const WHAT: &str = "database";
/// How long the server may take for all that is asked.
const ANSWER_MAX: Duration = Duration::from_secs(5);
/// The oldest server that will do, as it numbers itself.
const OLDEST: i32 = 120_000;
/// The newest version of the tables that this program knows; a test compares it with what a store makes.
pub const SCHEMA: i64 = 2;

const ABOUT: &str = "SELECT current_setting('server_version_num')::int, current_setting('server_version'), \
    current_setting('server_encoding'), current_setting('fsync'), \
    pg_is_in_recovery() OR current_setting('transaction_read_only') = 'on', current_schema()::text, \
    to_regclass('_sqlx_migrations') IS NOT NULL, coalesce(has_schema_privilege(current_schema(), 'CREATE'), false)";
const VERSION: &str = "SELECT coalesce(max(version), 0) FROM _sqlx_migrations";
const MAY_WRITE: &str = "SELECT coalesce(bool_and(has_table_privilege(name::regclass, 'INSERT') \
    AND has_table_privilege(name::regclass, 'UPDATE')), false) FROM unnest(ARRAY['lease', 'leader', 'log', 'tasks']) AS name";

/// What there is to say of the place where the daemon of `plan` stores.
pub(super) async fn checks(plan: &Plan, client: &Client) -> Vec<Check> {
    let secrets: Api<Secret> = Api::namespaced(client.clone(), &plan.namespace);
    let from_secret = async || {
        let found =
            secrets.get_opt(DATABASE).await.map_err(|error| explain("reading the secret of the database", &error))?;
        Ok(found.and_then(|secret| String::from_utf8(secret.data?.remove(DATABASE_KEY)?.0).ok()))
    };
    let said = match &plan.database {
        Database::Given(url) => server(url.secret()).await,
        Database::Secret => match from_secret().await {
            Ok(Some(url)) => server(url.trim()).await,
            Ok(None) => missing(&plan.namespace),
            Err(trouble) => Check::trouble(WHAT, trouble, false),
        },
        // It counts also for who does not speak of it.
        Database::File => match from_secret().await {
            Ok(Some(url)) => server(url.trim()).await,
            _ => return vec![files(plan, client).await],
        },
    };
    let mut checks = vec![said];
    if plan.data == Data::Pod {
        checks.push(Check::warning(
            WHAT,
            "the output of workers and the operator's token lie with the pod of the daemon that leads, and go with it",
            "give --data-path, a directory that all nodes share, or --storage-class of a file system that many may write",
        ));
    }
    checks
}

/// Nobody said where the database is, although somebody was to.
pub(in crate::setup) fn missing(namespace: &str) -> Check {
    Check::fatal(
        WHAT,
        format!("there is no secret {DATABASE} with the key {DATABASE_KEY} in {namespace}"),
        format!(
            "`kubectl -n {namespace} create secret generic {DATABASE} --from-literal={DATABASE_KEY}=postgres://USER:PASSWORD@HOST/\
             NAME`"
        ),
    )
}

async fn files(plan: &Plan, client: &Client) -> Check {
    match &plan.data {
        Data::Host { path, node } => {
            let node = node.as_deref().unwrap_or("every node");
            Check::good(WHAT, format!("its files lie in {path} on {node}"))
        }
        Data::Pod => Check::skipped(WHAT, "its files lie with the daemon's pod"),
        Data::Claim { size, .. } => {
            let claims: Api<PersistentVolumeClaim> = Api::namespaced(client.clone(), &plan.namespace);
            match claims.get_opt(CLAIM).await {
                Ok(None) => Check::skipped(WHAT, format!("`hai-daemon up` will claim {size} for it")),
                Ok(Some(_)) => match why::claim_is_not_bound(client, &plan.namespace).await {
                    Some(said) => Check::bad(WHAT, said, "give the cluster storage, or the daemon a directory"),
                    None => Check::good(WHAT, format!("claim {CLAIM} is there")),
                },
                Err(error) => Check::trouble(WHAT, explain("looking for its claim", &error), false),
            }
        }
    }
}

/// What a Postgres server, named by `url`, is like for hai. Nothing is changed there.
pub async fn server(url: &str) -> Check {
    let Ok(options) = PgConnectOptions::from_str(url) else {
        // It may hold a password, so it is not repeated.
        let fix = format!("write it as postgres://USER:PASSWORD@HOST/NAME (data.database, or the secret {DATABASE})");
        return Check::bad(WHAT, "its URL can not be read", fix);
    };
    let place = place(&options);
    match timeout(ANSWER_MAX, asked(options.clone().disable_statement_logging(), &place)).await {
        Ok(Ok(check)) => check,
        Ok(Err(error)) => failed(&options, &place, &error),
        Err(_) if is_inner(options.get_host()) => not_from_here(&place),
        Err(_) => Check::bad(
            WHAT,
            format!("{place} does not answer within {} s", ANSWER_MAX.as_secs()),
            "see that it runs and that a firewall lets hai through, or correct data.database",
        ),
    }
}

/// Where a server is, without user and password.
fn place(options: &PgConnectOptions) -> String {
    let host = options.get_socket().map_or(options.get_host().to_owned(), |socket| socket.display().to_string());
    let name = options.get_database().unwrap_or(options.get_username());
    format!("{host}:{}/{name}", options.get_port())
}

/// A name that only the cluster's own name service knows.
fn is_inner(host: &str) -> bool {
    host.ends_with(".svc") || host.contains(".svc.")
}

fn not_from_here(place: &str) -> Check {
    Check::skipped(WHAT, format!("{place} is a name of the cluster's own, and was not tried from here"))
}

fn failed(options: &PgConnectOptions, place: &str, error: &sqlx::Error) -> Check {
    match error {
        sqlx::Error::Database(said) => {
            let code = said.try_downcast_ref::<PgDatabaseError>().map_or("", PgDatabaseError::code);
            let fix = match code {
                "28000" | "28P01" => {
                    format!(
                        "correct user and password in data.database, or in the secret {DATABASE}; see pg_hba.conf too"
                    )
                }
                "3D000" => format!(
                    "`CREATE DATABASE {} ENCODING 'UTF8'` there, or correct data.database",
                    options.get_database().unwrap_or(options.get_username())
                ),
                "42501" => format!("`GRANT ALL ON ALL TABLES IN SCHEMA public TO {}` there", options.get_username()),
                _ => "see what the server logs".to_owned(),
            };
            Check::bad(WHAT, format!("{place} refuses hai: {}", said.message()), fix)
        }
        sqlx::Error::Io(_) if is_inner(options.get_host()) => not_from_here(place),
        error => Check::bad(WHAT, format!("{place} can not be reached: {error}"), "start it, or correct data.database"),
    }
}

type About = (i32, String, String, String, bool, Option<String>, bool, bool);

async fn asked(options: PgConnectOptions, place: &str) -> Result<Check, sqlx::Error> {
    let mut connection = PgConnection::connect_with(&options).await?;
    let about: About = sqlx::query_as(ABOUT).fetch_one(&mut connection).await?;
    let (number, version, encoding, fsync, read_only, schema, migrated, may_make) = about;
    let bad = |said: String, fix: &str| Ok(Check::bad(WHAT, said, fix));
    if number < OLDEST {
        return bad(format!("{place} is Postgres {version}, and hai needs 12 or newer"), "upgrade the server");
    }
    if encoding != "UTF8" {
        return bad(format!("{place} has encoding {encoding}"), "create the database anew with ENCODING 'UTF8'");
    }
    if read_only {
        return bad(
            format!("{place} takes no changes: it follows another server, or is set to read only"),
            "name the primary server",
        );
    }
    let Some(schema) = schema else {
        return bad(
            format!("{place} has no schema to make tables in"),
            "`CREATE SCHEMA public` there, or correct its search_path",
        );
    };
    let user = options.get_username();
    if !migrated {
        if !may_make {
            return Ok(Check::bad(
                WHAT,
                format!("{place} does not let {user} make tables in schema {schema}"),
                format!("`GRANT CREATE, USAGE ON SCHEMA {schema} TO {user}` there"),
            ));
        }
        return Ok(lasting(format!("Postgres {version} at {place}, still empty"), &fsync));
    }
    let found: i64 = sqlx::query_scalar(VERSION).fetch_one(&mut connection).await?;
    if found > SCHEMA {
        return bad(
            format!("{place} has tables of version {found}, and this program knows versions up to {SCHEMA}"),
            "run the version of hai that wrote them, or a newer one",
        );
    }
    let may_write: bool = sqlx::query_scalar(MAY_WRITE).fetch_one(&mut connection).await?;
    if !may_write {
        return Ok(Check::bad(
            WHAT,
            format!("{place} does not let {user} write hai's tables in schema {schema}"),
            format!("`GRANT ALL ON ALL TABLES IN SCHEMA {schema} TO {user}` there"),
        ));
    }
    Ok(lasting(format!("Postgres {version} at {place}, tables of version {found}"), &fsync))
}

fn lasting(said: String, fsync: &str) -> Check {
    match fsync {
        "off" => Check::warning(
            WHAT,
            format!("{said}, with fsync = off: what it acknowledges may be gone after a power loss"),
            "set fsync = on there",
        ),
        _ => Check::good(WHAT, said),
    }
}
