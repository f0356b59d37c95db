-- Looking up, row by row, that what a run or a worker refers to is there took a quarter of the time in which a round of a
-- thousand starts is stored. All that a commit writes comes from one place, in one transaction; `hai-daemon db check` compares
-- it with the log, and looks for what refers to nothing.
ALTER TABLE programs DROP CONSTRAINT programs_task_fkey;
ALTER TABLE runs DROP CONSTRAINT runs_task_fkey;
ALTER TABLE workers DROP CONSTRAINT workers_run_fkey;
