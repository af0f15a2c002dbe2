-- One row a settled operation of a call. Rows may be deleted once no saga can repeat the call any more.
CREATE TABLE IF NOT EXISTS saga_barrier (
    call_key text NOT NULL,  -- the do-call's Idempotency-Key, for the undo's row too
    operation text NOT NULL CHECK (operation IN ('do', 'undo')),  -- what is settled
    cause text NOT NULL CHECK (cause IN ('do', 'undo', 'inquire')),  -- who settled it: only a do by a do was ever run
    status smallint CHECK (status BETWEEN 200 AND 499),  -- the answer to repeat; set before commit
    body text,  -- text, not jsonb: a repeat answers the first answer to the letter
    created_at timestamptz NOT NULL DEFAULT now(),
    PRIMARY KEY (call_key, operation),
    CHECK (operation = 'do' OR cause = 'undo'),
    CHECK ((status IS NULL) = (body IS NULL))
);
