-- Everything that a scheduler on one machine keeps. `log` is the truth; tasks, programs, runs, workers and rights are
-- what follows from it, written in the same transaction so that readers need not replay. Columns beside the JSON are
-- those that are searched, sorted or counted. Times are milliseconds since 1970-01-01T00:00:00Z.

-- The fence grows with every taking of the lease; only its last taker may write.
CREATE TABLE lease (
    id INTEGER PRIMARY KEY CHECK (id = 1),
    fence INTEGER NOT NULL
) STRICT;
INSERT INTO lease (id, fence) VALUES (1, 0);

CREATE TABLE log (
    seq INTEGER PRIMARY KEY,
    at INTEGER NOT NULL,
    kind TEXT NOT NULL,
    body TEXT NOT NULL,
    digest BLOB
) STRICT;

CREATE TABLE snapshot (
    id INTEGER PRIMARY KEY CHECK (id = 1),
    seq INTEGER NOT NULL,
    digest BLOB NOT NULL,
    state TEXT NOT NULL
) STRICT;

CREATE TABLE tasks (
    id INTEGER PRIMARY KEY,
    name TEXT NOT NULL,
    user_name TEXT NOT NULL,
    group_name TEXT NOT NULL,
    priority INTEGER NOT NULL,
    state TEXT NOT NULL,
    outcome TEXT,
    submitted_at INTEGER NOT NULL,
    ended_at INTEGER,
    view TEXT NOT NULL
) STRICT;
-- In a rowid table every index ends in the rowid, here the task's number: each of these gives newest first.
CREATE INDEX tasks_user ON tasks (user_name);
CREATE INDEX tasks_unfinished ON tasks (id) WHERE state <> 'finished';
CREATE INDEX tasks_outcome ON tasks (outcome) WHERE outcome IS NOT NULL;
CREATE INDEX tasks_state ON tasks (state, outcome);

CREATE TABLE programs (
    task INTEGER PRIMARY KEY REFERENCES tasks (id),
    body TEXT NOT NULL
) STRICT;

-- `view` holds all but the workers; those are the first `workers` ranks in the table below.
CREATE TABLE runs (
    id INTEGER PRIMARY KEY,
    task INTEGER NOT NULL REFERENCES tasks (id),
    phase TEXT NOT NULL,
    decided_at INTEGER NOT NULL,
    ended_at INTEGER,
    workers INTEGER NOT NULL,
    view TEXT NOT NULL
) STRICT;
CREATE INDEX runs_task ON runs (task);

CREATE TABLE workers (
    run INTEGER NOT NULL REFERENCES runs (id),
    rank INTEGER NOT NULL,
    node TEXT NOT NULL,
    view TEXT NOT NULL,
    PRIMARY KEY (run, rank)
) STRICT, WITHOUT ROWID;

CREATE TABLE rights (
    position INTEGER PRIMARY KEY,
    user_name TEXT,
    group_name TEXT,
    priority INTEGER,
    body TEXT NOT NULL
) STRICT;

CREATE TABLE events (
    id INTEGER PRIMARY KEY,
    at INTEGER NOT NULL,
    task INTEGER NOT NULL,
    user_name TEXT NOT NULL,
    body TEXT NOT NULL
) STRICT;
CREATE INDEX events_task ON events (task);
CREATE INDEX events_user ON events (user_name);

-- A token is random and long, so one round of SHA-256 hides it; the token itself is never written.
CREATE TABLE users (
    name TEXT PRIMARY KEY,
    role TEXT NOT NULL,
    token_hash BLOB NOT NULL UNIQUE,
    created_at INTEGER NOT NULL,
    disabled INTEGER NOT NULL DEFAULT 0
) STRICT, WITHOUT ROWID;
