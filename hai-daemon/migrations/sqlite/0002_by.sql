-- Who caused a fact through a door; nobody did what the cluster reports and the engine decides.
ALTER TABLE log ADD COLUMN by_user TEXT;
