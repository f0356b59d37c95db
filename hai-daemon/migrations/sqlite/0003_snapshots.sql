-- Older snapshots are kept too, the fewer the older: who asks about last week need not follow the log from its beginning.
-- `seq` is that of the last record that the state contains.
CREATE TABLE snapshots (
    seq INTEGER PRIMARY KEY,
    digest BLOB NOT NULL,
    state TEXT NOT NULL
) STRICT;
INSERT INTO snapshots (seq, digest, state) SELECT seq, digest, state FROM snapshot;
DROP TABLE snapshot;
