-- One row a settled operation of a call. Rows may be deleted once no saga can repeat the call any more.
CREATE TABLE IF NOT EXISTS saga_barrier (
    call_key TEXT NOT NULL,  -- the do-call's Idempotency-Key, for the undo's row too
    operation TEXT NOT NULL CHECK (operation IN ('do', 'undo')),  -- what is settled
    cause TEXT NOT NULL CHECK (cause IN ('do', 'undo', 'inquire')),  -- who settled it: only a do by a do was ever run
    status INTEGER CHECK (status BETWEEN 200 AND 499),  -- the answer to repeat; set before commit
    body TEXT,
    created_at TEXT NOT NULL DEFAULT (strftime('%Y-%m-%dT%H:%M:%fZ', 'now')),
    PRIMARY KEY (call_key, operation),
    CHECK (operation = 'do' OR cause = 'undo'),
    CHECK ((status IS NULL) = (body IS NULL))
) WITHOUT ROWID;
