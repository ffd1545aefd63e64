-- When a refresh token was used up: its second use shortly after is another tab's; later it is a replay. One that has
-- outlived its cookie is forgotten.
ALTER TABLE used_refresh_tokens ADD COLUMN used_at timestamptz NOT NULL DEFAULT now();

-- Inside the migration's transaction: the table is as large as a month of sign-ins, and writes to it wait a moment.
-- squawk-ignore require-concurrent-index-creation
CREATE INDEX used_refresh_tokens_used_at_idx ON used_refresh_tokens (used_at);

-- A mailed token that a newer one replaced opens nothing, and stays until it expires: it counts as a mail that was sent.
ALTER TABLE mailed_tokens ADD COLUMN void_at timestamptz;
ALTER TABLE mailed_tokens ADD COLUMN created_at timestamptz NOT NULL DEFAULT now();
