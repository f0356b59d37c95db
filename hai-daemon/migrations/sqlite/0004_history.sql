-- History is kept out of the tables that every commit writes to: a task that ended is one row, with its program, its runs and
-- their workers, of which nothing changes any more. `tasks`, `programs`, `runs` and `workers` hold what has not ended.
-- `runs` is a JSON array of `{"run": view, "workers": [view, …]}`.
CREATE TABLE ended (
    id INTEGER PRIMARY KEY,
    name TEXT NOT NULL,
    user_name TEXT NOT NULL,
    group_name TEXT NOT NULL,
    priority INTEGER NOT NULL,
    outcome TEXT,
    submitted_at INTEGER NOT NULL,
    ended_at INTEGER NOT NULL,
    view TEXT NOT NULL,
    program TEXT,
    run_count INTEGER NOT NULL,
    runs TEXT NOT NULL
) STRICT;
CREATE INDEX ended_user ON ended (user_name);
CREATE INDEX ended_outcome ON ended (outcome);
CREATE INDEX ended_user_outcome ON ended (user_name, outcome);
CREATE INDEX ended_at ON ended (ended_at);

-- How many tasks ever ended so, those that were pruned too.
CREATE TABLE totals (
    outcome TEXT PRIMARY KEY,
    tasks INTEGER NOT NULL
) STRICT, WITHOUT ROWID;

-- Tasks that ended before this time may be gone.
CREATE TABLE pruned (
    id INTEGER PRIMARY KEY CHECK (id = 1),
    before INTEGER NOT NULL
) STRICT;
INSERT INTO pruned (id, before) VALUES (1, -9223372036854775808);

-- When a snapshot's last record was, which may be gone.
ALTER TABLE snapshots ADD COLUMN at INTEGER;
UPDATE snapshots SET at = (SELECT at FROM log WHERE log.seq = snapshots.seq);

INSERT INTO ended (id, name, user_name, group_name, priority, outcome, submitted_at, ended_at, view, program, run_count, runs)
SELECT id, name, user_name, group_name, priority, outcome, submitted_at, coalesce(ended_at, submitted_at), view,
    (SELECT body FROM programs WHERE programs.task = tasks.id),
    (SELECT count(*) FROM runs WHERE runs.task = tasks.id),
    (SELECT '[' || coalesce(string_agg('{"run":' || runs.view || ',"workers":['
        || coalesce((SELECT string_agg(workers.view, ',' ORDER BY rank) FROM workers
            WHERE run = runs.id AND rank < runs.workers), '') || ']}', ',' ORDER BY runs.id), '') || ']'
        FROM runs WHERE runs.task = tasks.id)
FROM tasks WHERE state = 'finished';

INSERT INTO totals (outcome, tasks) SELECT coalesce(outcome, ''), count(*) FROM ended GROUP BY 1;
DELETE FROM workers WHERE run IN (SELECT runs.id FROM runs JOIN ended ON runs.task = ended.id);
DELETE FROM runs WHERE task IN (SELECT id FROM ended);
DELETE FROM programs WHERE task IN (SELECT id FROM ended);
DELETE FROM tasks WHERE state = 'finished';

DROP INDEX tasks_unfinished;
DROP INDEX tasks_outcome;
DROP INDEX tasks_state;
CREATE INDEX tasks_state ON tasks (state);
