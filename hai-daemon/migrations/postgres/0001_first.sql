-- Everything that a scheduler keeps in Postgres: the same as in SQLite. `log` is the truth; tasks, programs, runs, workers
-- and rights are what follows from it, written in the same transaction so that readers need not replay. Columns beside
-- the JSON are those that are searched, sorted or counted. Times are milliseconds since 1970-01-01T00:00:00Z.
-- JSON is text, not jsonb: it must read back as it was written, and may hold what jsonb refuses (the character 0).

-- The fence grows with every taking of the lease; only its last taker may write. Who writes holds this row until the
-- commit, so that of a commit and a taking one comes after the other.
CREATE TABLE lease (
    id BIGINT PRIMARY KEY CHECK (id = 1),
    fence BIGINT NOT NULL
);
INSERT INTO lease (id, fence) VALUES (1, 0);

-- Who leads, so that others know when to take the lease and where to send people meanwhile. It is by the server's clock
-- alone. Nothing depends on it: what keeps an old leader from writing is the fence.
CREATE TABLE leader (
    id BIGINT PRIMARY KEY CHECK (id = 1),
    holder TEXT NOT NULL,
    address TEXT NOT NULL,
    expires_at TIMESTAMPTZ NOT NULL
);

CREATE TABLE log (
    seq BIGINT PRIMARY KEY,
    at BIGINT NOT NULL,
    kind TEXT NOT NULL,
    body TEXT NOT NULL,
    digest BYTEA,
    by_user TEXT
);

-- `seq` is that of the last record that the state contains.
CREATE TABLE snapshots (
    seq BIGINT PRIMARY KEY,
    digest BYTEA NOT NULL,
    state TEXT NOT NULL
);

-- Rows are written several times in a task's life; room in the page keeps their new versions beside the old ones.
-- A name is bytes of UTF-8, since text can not hold the character 0.
CREATE TABLE tasks (
    id BIGINT PRIMARY KEY,
    name BYTEA NOT NULL,
    user_name TEXT COLLATE "C" NOT NULL,
    group_name TEXT COLLATE "C" NOT NULL,
    priority BIGINT NOT NULL,
    state TEXT COLLATE "C" NOT NULL,
    outcome TEXT COLLATE "C",
    submitted_at BIGINT NOT NULL,
    ended_at BIGINT,
    view TEXT NOT NULL
) WITH (fillfactor = 80);
CREATE INDEX tasks_user ON tasks (user_name, id);
CREATE INDEX tasks_unfinished ON tasks (id) WHERE state <> 'finished';
CREATE INDEX tasks_outcome ON tasks (outcome, id) WHERE outcome IS NOT NULL;
CREATE INDEX tasks_state ON tasks (state, outcome);

CREATE TABLE programs (
    task BIGINT PRIMARY KEY REFERENCES tasks (id),
    body TEXT NOT NULL
);

-- `view` holds all but the workers; those are the first `workers` ranks in the table below.
CREATE TABLE runs (
    id BIGINT PRIMARY KEY,
    task BIGINT NOT NULL REFERENCES tasks (id),
    phase TEXT NOT NULL,
    decided_at BIGINT NOT NULL,
    ended_at BIGINT,
    workers BIGINT NOT NULL,
    view TEXT NOT NULL
) WITH (fillfactor = 80);
CREATE INDEX runs_task ON runs (task, id);

CREATE TABLE workers (
    run BIGINT NOT NULL REFERENCES runs (id),
    rank BIGINT NOT NULL,
    node TEXT NOT NULL,
    view TEXT NOT NULL,
    PRIMARY KEY (run, rank)
) WITH (fillfactor = 80);

CREATE TABLE rights (
    position BIGINT PRIMARY KEY,
    user_name TEXT,
    group_name TEXT,
    priority BIGINT,
    body TEXT NOT NULL
);

CREATE TABLE events (
    id BIGINT PRIMARY KEY,
    at BIGINT NOT NULL,
    task BIGINT NOT NULL,
    user_name TEXT COLLATE "C" NOT NULL,
    body TEXT NOT NULL
);
CREATE INDEX events_user ON events (user_name, id);

-- A token is random and long, so one round of SHA-256 hides it; the token itself is never written.
CREATE TABLE users (
    name TEXT COLLATE "C" PRIMARY KEY,
    role TEXT NOT NULL,
    token_hash BYTEA NOT NULL UNIQUE,
    created_at BIGINT NOT NULL,
    disabled BIGINT NOT NULL DEFAULT 0
);
