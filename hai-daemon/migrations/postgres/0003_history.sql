-- History is kept out of the tables that every commit writes to, and in parts by month (UTC), so that what is old goes by
-- dropping a table. A row that no part is there for goes to the part `…_rest`: a commit never fails for want of one.

-- A task that ended, with its program, its runs and their workers: nothing of it changes any more. `tasks`, `programs`,
-- `runs` and `workers` hold what has not ended. `runs` is a JSON array of `{"run": view, "workers": [view, …]}`.
CREATE TABLE ended (
    id BIGINT NOT NULL,
    name BYTEA NOT NULL,
    user_name TEXT COLLATE "C" NOT NULL,
    group_name TEXT COLLATE "C" NOT NULL,
    priority BIGINT NOT NULL,
    outcome TEXT COLLATE "C",
    submitted_at BIGINT NOT NULL,
    ended_at BIGINT NOT NULL,
    view TEXT NOT NULL,
    program TEXT,
    run_count BIGINT NOT NULL,
    runs TEXT NOT NULL,
    -- That a number is there once, in whichever part, the commit sees to.
    PRIMARY KEY (id, ended_at)
) PARTITION BY RANGE (ended_at);
CREATE TABLE ended_rest PARTITION OF ended DEFAULT;
CREATE INDEX ended_user ON ended (user_name, id);
CREATE INDEX ended_outcome ON ended (outcome, id);
CREATE INDEX ended_user_outcome ON ended (user_name, outcome, id);

-- All runs of three bytes in a name, as numbers: a name that holds a text holds all of the text's.
CREATE FUNCTION name_parts(name BYTEA) RETURNS INT[] LANGUAGE sql IMMUTABLE STRICT PARALLEL SAFE AS $$
    SELECT coalesce(array_agg(DISTINCT get_byte(name, at) << 16 | get_byte(name, at + 1) << 8 | get_byte(name, at + 2)), '{}')
    FROM generate_series(0, length(name) - 3) AS at
$$;
-- What was added lately is looked through one by one, so that must not be much (kB).
CREATE INDEX ended_name ON ended USING gin (name_parts(name)) WITH (gin_pending_list_limit = 64);

-- How many tasks ever ended so, those that were pruned too.
CREATE TABLE totals (
    outcome TEXT COLLATE "C" PRIMARY KEY,
    tasks BIGINT NOT NULL
);

-- Tasks that ended before this time may be gone.
CREATE TABLE pruned (
    id BIGINT PRIMARY KEY CHECK (id = 1),
    before BIGINT NOT NULL
);
INSERT INTO pruned (id, before) VALUES (1, -9223372036854775808);

-- When a snapshot's last record was, which may be gone.
ALTER TABLE snapshots ADD COLUMN at BIGINT;
UPDATE snapshots SET at = log.at FROM log WHERE log.seq = snapshots.seq;

-- The last numbers, so that who writes need not look for them in all parts. Taking the lease counts them anew.
ALTER TABLE lease ADD COLUMN last_record BIGINT NOT NULL DEFAULT 0;
ALTER TABLE lease ADD COLUMN last_event BIGINT NOT NULL DEFAULT 0;
ALTER TABLE lease ADD COLUMN last_ended BIGINT NOT NULL DEFAULT 0;

ALTER TABLE log RENAME TO log_before;
ALTER TABLE log_before DROP CONSTRAINT log_pkey;
CREATE TABLE log (
    seq BIGINT NOT NULL,
    at BIGINT NOT NULL,
    kind TEXT NOT NULL,
    body TEXT NOT NULL,
    digest BYTEA,
    by_user TEXT,
    PRIMARY KEY (seq, at)
) PARTITION BY RANGE (at);
CREATE TABLE log_rest PARTITION OF log DEFAULT;

ALTER TABLE events RENAME TO events_before;
ALTER TABLE events_before DROP CONSTRAINT events_pkey;
ALTER INDEX events_user RENAME TO events_before_user;
CREATE TABLE events (
    id BIGINT NOT NULL,
    at BIGINT NOT NULL,
    task BIGINT NOT NULL,
    user_name TEXT COLLATE "C" NOT NULL,
    body TEXT NOT NULL,
    PRIMARY KEY (id, at)
) PARTITION BY RANGE (at);
CREATE TABLE events_rest PARTITION OF events DEFAULT;
CREATE INDEX events_user ON events (user_name, id);

-- All that is there already becomes one part, up to the end of the newest month in it.
DO $$
DECLARE
    newest BIGINT;
    bound TEXT := 'MAXVALUE';
BEGIN
    SELECT greatest(
        (SELECT max(at) FROM log_before),
        (SELECT max(at) FROM events_before),
        (SELECT max(coalesce(ended_at, submitted_at)) FROM tasks WHERE state = 'finished')
    ) INTO newest;
    IF newest IS NULL THEN
        DROP TABLE log_before;
        DROP TABLE events_before;
        RETURN;
    END IF;
    newest := greatest(newest, (extract(epoch FROM now()) * 1000)::bigint);
    -- Years of five digits are nobody's.
    IF newest < 253370764800000 THEN
        bound := (extract(epoch FROM date_trunc('month', to_timestamp(newest / 1000) AT TIME ZONE 'UTC')
            + interval '1 month') * 1000)::bigint::text;
    END IF;
    EXECUTE format('ALTER TABLE log ATTACH PARTITION log_before FOR VALUES FROM (MINVALUE) TO (%s)', bound);
    EXECUTE format('ALTER TABLE events ATTACH PARTITION events_before FOR VALUES FROM (MINVALUE) TO (%s)', bound);
    EXECUTE format('CREATE TABLE ended_before PARTITION OF ended FOR VALUES FROM (MINVALUE) TO (%s)', bound);
END
$$;

INSERT INTO ended (id, name, user_name, group_name, priority, outcome, submitted_at, ended_at, view, program, run_count, runs)
SELECT tasks.id, name, user_name, group_name, priority, outcome, submitted_at, coalesce(ended_at, submitted_at), tasks.view,
    programs.body, coalesce(told.count, 0), coalesce('[' || told.text || ']', '[]')
FROM tasks
LEFT JOIN programs ON programs.task = tasks.id
LEFT JOIN (
    SELECT task, count(*) AS count, string_agg(text, ',' ORDER BY id) AS text
    FROM (
        SELECT runs.task, runs.id, '{"run":' || runs.view || ',"workers":['
            || coalesce(string_agg(workers.view, ',' ORDER BY rank), '') || ']}' AS text
        FROM runs LEFT JOIN workers ON workers.run = runs.id AND rank < runs.workers
        GROUP BY runs.id
    ) AS one
    GROUP BY task
) AS told ON told.task = tasks.id
WHERE state = 'finished';

INSERT INTO totals (outcome, tasks) SELECT coalesce(outcome, ''), count(*) FROM ended GROUP BY 1;
DELETE FROM workers USING runs, ended WHERE workers.run = runs.id AND runs.task = ended.id;
DELETE FROM runs USING ended WHERE runs.task = ended.id;
DELETE FROM programs USING ended WHERE programs.task = ended.id;
DELETE FROM tasks WHERE state = 'finished';

DROP INDEX tasks_unfinished;
DROP INDEX tasks_outcome;
DROP INDEX tasks_state;
CREATE INDEX tasks_state ON tasks (state, id);
