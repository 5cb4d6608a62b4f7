-- Partitions that a named operator has let go on elsewhere: what lies between the two offsets was not read.
CREATE TABLE ledger_resets (
    id bigserial PRIMARY KEY,
    topic text COLLATE "C" NOT NULL,
    partition integer NOT NULL,
    from_offset bigint,
    to_offset bigint NOT NULL,
    operator text NOT NULL,
    reason text NOT NULL,
    unix_ms bigint NOT NULL
);
CREATE INDEX ledger_resets_topic ON ledger_resets (topic, id);
