-- The ledger. Amounts of entries are pico-USD in 64 bits, sums have 38 digits. Incarnations, sequences and processes are unsigned numbers kept by
-- their bits. Text is compared by its bytes.

CREATE TABLE ledger_schema (
    only_row boolean PRIMARY KEY DEFAULT true CHECK (only_row),
    -- The newest migration.
    version bigint NOT NULL,
    -- The oldest version whose builds may still work with these tables.
    usable_from bigint NOT NULL,
    -- The ledger's own, under which adjustments are written. It is made with the database and never again.
    incarnation bigint NOT NULL
);
INSERT INTO ledger_schema (version, usable_from, incarnation)
    VALUES (1, 1, ('x' || substr(md5(gen_random_uuid()::text), 1, 16))::bit(64)::bigint);

-- Every event, in the order of its arrival. The columns beside the payload are what is searched by.
CREATE TABLE ledger_events (
    id bigserial PRIMARY KEY,
    incarnation bigint NOT NULL,
    sequence bigint NOT NULL,
    kind smallint NOT NULL,
    attempt bytea,
    generation bytea,
    number bigint NOT NULL,
    org text COLLATE "C" NOT NULL,
    workspace text COLLATE "C" NOT NULL,
    api_key text COLLATE "C" NOT NULL,
    model text COLLATE "C" NOT NULL,
    -- The first 16 bytes of the BLAKE3 hash of the provider's id of the answer: whatever a provider sends, it fits into an index.
    answer bytea,
    amount bigint NOT NULL,
    hash bytea NOT NULL,
    payload bytea NOT NULL
);
-- Payloads are small and do not repeat within themselves: to compress each costs more than it saves.
ALTER TABLE ledger_events ALTER COLUMN payload SET STORAGE EXTERNAL;
CREATE UNIQUE INDEX ledger_events_identity ON ledger_events (incarnation, sequence);
-- Kinds 2 to 5 are terminal: settled, partial, failed, orphaned. 6 is adjusted, 7 closed.
CREATE UNIQUE INDEX ledger_events_terminal ON ledger_events (attempt) WHERE kind BETWEEN 2 AND 5;
CREATE UNIQUE INDEX ledger_events_adjusted ON ledger_events (attempt) WHERE kind = 6;
CREATE INDEX ledger_events_rare ON ledger_events (kind, id) WHERE kind >= 5;
CREATE INDEX ledger_events_generation ON ledger_events (generation) WHERE generation IS NOT NULL;
CREATE INDEX ledger_events_answer ON ledger_events (answer, id) WHERE answer IS NOT NULL;
CREATE INDEX ledger_events_api_key ON ledger_events (api_key, id);

CREATE TABLE ledger_accounts (
    id bigserial PRIMARY KEY,
    name text COLLATE "C" NOT NULL UNIQUE
);

-- No account occurs twice among the entries of one event.
CREATE TABLE ledger_postings (
    event bigint NOT NULL,
    account bigint NOT NULL,
    amount bigint NOT NULL,
    PRIMARY KEY (event, account)
);

-- What writers add up, each in a row of its own so that none waits for another: the slot is the partition that is read, or -1. A balance is the sum.
CREATE TABLE ledger_balances (
    account bigint NOT NULL,
    slot integer NOT NULL,
    amount numeric(38, 0) NOT NULL,
    PRIMARY KEY (account, slot)
) WITH (fillfactor = 50);
CREATE TABLE ledger_key_usage (
    org text COLLATE "C" NOT NULL,
    workspace text COLLATE "C" NOT NULL,
    api_key text COLLATE "C" NOT NULL,
    day bigint NOT NULL,
    slot integer NOT NULL,
    amount numeric(38, 0) NOT NULL,
    PRIMARY KEY (org, workspace, api_key, day, slot)
) WITH (fillfactor = 50);
CREATE TABLE ledger_counts (
    slot integer PRIMARY KEY,
    events bigint NOT NULL
) WITH (fillfactor = 50);

-- Each log that has sent something: its row is the lock of those who write for it. And how it ended, if it has.
CREATE TABLE ledger_incarnations (
    incarnation bigint PRIMARY KEY,
    last_sequence bigint,
    doubt boolean NOT NULL DEFAULT false
);
-- Which sequence numbers have arrived, booked or set aside; both ends are included.
CREATE TABLE ledger_sequences (
    incarnation bigint NOT NULL,
    first bigint NOT NULL,
    last bigint NOT NULL,
    PRIMARY KEY (incarnation, first)
) WITH (fillfactor = 50);

-- Who owns a partition (the newest epoch), and how far it was read.
CREATE TABLE ledger_partitions (
    topic text COLLATE "C" NOT NULL,
    partition integer NOT NULL,
    epoch bigint NOT NULL,
    next_offset bigint,
    PRIMARY KEY (topic, partition)
) WITH (fillfactor = 50);
CREATE TABLE ledger_cursors (
    incarnation bigint PRIMARY KEY,
    segment bigint NOT NULL,
    position bigint NOT NULL
);

CREATE TABLE ledger_quarantine (
    id bigserial PRIMARY KEY,
    incarnation bigint NOT NULL,
    sequence bigint NOT NULL,
    hash bytea NOT NULL,
    kind integer NOT NULL,
    attempt bytea NOT NULL,
    reason text NOT NULL,
    payload bytea NOT NULL,
    UNIQUE (incarnation, sequence, hash)
);
CREATE TABLE ledger_adjustments (
    event bigint PRIMARY KEY,
    operator text NOT NULL,
    reason text NOT NULL,
    unix_us bigint NOT NULL
);
CREATE TABLE ledger_price_versions (
    version text COLLATE "C" PRIMARY KEY,
    text text NOT NULL
);

-- What proxies say of their logs.
CREATE TABLE ledger_logs (
    incarnation bigint PRIMARY KEY,
    proxy text COLLATE "C" NOT NULL,
    process bigint NOT NULL,
    last_sequence bigint NOT NULL,
    closed boolean NOT NULL,
    seen_ms bigint NOT NULL,
    mark_sequence bigint NOT NULL,
    mark_ms bigint NOT NULL
) WITH (fillfactor = 50);
CREATE INDEX ledger_logs_proxy ON ledger_logs (proxy);
CREATE TABLE ledger_write_offs (
    id bigserial PRIMARY KEY,
    incarnation bigint NOT NULL,
    last_sequence bigint NOT NULL,
    missing text NOT NULL,
    operator text NOT NULL,
    reason text NOT NULL,
    unix_ms bigint NOT NULL
);
CREATE INDEX ledger_write_offs_log ON ledger_write_offs (incarnation);

-- The entries of every event sum to zero, whoever writes them: all entries of an event are written by one statement.
CREATE FUNCTION ledger_postings_balance() RETURNS trigger LANGUAGE plpgsql AS $$
DECLARE
    wrong record;
BEGIN
    SELECT event, sum(amount) AS total INTO wrong FROM written GROUP BY event HAVING sum(amount) <> 0 LIMIT 1;
    IF FOUND THEN
        RAISE EXCEPTION 'the entries of event % sum to %, not to zero', wrong.event, wrong.total USING ERRCODE = 'check_violation';
    END IF;
    RETURN NULL;
END
$$;
CREATE TRIGGER ledger_postings_balance AFTER INSERT ON ledger_postings
    REFERENCING NEW TABLE AS written FOR EACH STATEMENT EXECUTE FUNCTION ledger_postings_balance();

-- Events and entries are never changed: a correction is an event of its own.
CREATE FUNCTION ledger_unchanged() RETURNS trigger LANGUAGE plpgsql AS $$
BEGIN
    RAISE EXCEPTION 'rows of % are never changed', TG_TABLE_NAME USING ERRCODE = 'restrict_violation';
END
$$;
CREATE TRIGGER ledger_events_unchanged BEFORE UPDATE OR DELETE OR TRUNCATE ON ledger_events
    FOR EACH STATEMENT EXECUTE FUNCTION ledger_unchanged();
CREATE TRIGGER ledger_postings_unchanged BEFORE UPDATE OR DELETE OR TRUNCATE ON ledger_postings
    FOR EACH STATEMENT EXECUTE FUNCTION ledger_unchanged();
