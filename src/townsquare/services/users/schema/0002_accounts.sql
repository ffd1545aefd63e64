-- What only a person and the platform may know of an account. The public side is in people.
CREATE TABLE accounts (
    person_id uuid PRIMARY KEY REFERENCES people ON DELETE CASCADE,
    email text NOT NULL,
    email_key text NOT NULL,
    email_verified_at timestamptz,
    password_hash text NOT NULL,
    totp_secret text,
    totp_confirmed_at timestamptz,
    totp_last_step bigint NOT NULL DEFAULT 0,
    suspended_at timestamptz,
    delete_after timestamptz,
    created_at timestamptz NOT NULL,
    updated_at timestamptz NOT NULL
);

CREATE UNIQUE INDEX accounts_email_key_idx ON accounts (email_key);
CREATE INDEX accounts_delete_after_idx ON accounts (delete_after) WHERE delete_after IS NOT NULL;

-- A session is a family of refresh tokens, of which the newest alone is good. `used` holds the hashes of those before.
CREATE TABLE sessions (
    id uuid PRIMARY KEY,
    person_id uuid NOT NULL REFERENCES people ON DELETE CASCADE,
    refresh_hash bytea NOT NULL,
    user_agent text NOT NULL DEFAULT '',
    created_at timestamptz NOT NULL,
    used_at timestamptz NOT NULL,
    expires_at timestamptz NOT NULL
);

CREATE UNIQUE INDEX sessions_refresh_hash_idx ON sessions (refresh_hash);
CREATE INDEX sessions_person_id_idx ON sessions (person_id, id);
CREATE INDEX sessions_expires_at_idx ON sessions (expires_at);

CREATE TABLE used_refresh_tokens (
    refresh_hash bytea PRIMARY KEY,
    session_id uuid NOT NULL REFERENCES sessions ON DELETE CASCADE
);

CREATE INDEX used_refresh_tokens_session_id_idx ON used_refresh_tokens (session_id);

CREATE TABLE recovery_codes (
    person_id uuid NOT NULL REFERENCES people ON DELETE CASCADE,
    code_hash bytea NOT NULL,
    PRIMARY KEY (person_id, code_hash)
);

CREATE TABLE personal_tokens (
    id uuid PRIMARY KEY,
    person_id uuid NOT NULL REFERENCES people ON DELETE CASCADE,
    name text NOT NULL,
    token_hash bytea NOT NULL,
    scopes text [] NOT NULL,
    created_at timestamptz NOT NULL,
    expires_at timestamptz,
    used_at timestamptz
);

CREATE UNIQUE INDEX personal_tokens_token_hash_idx ON personal_tokens (token_hash);
CREATE INDEX personal_tokens_person_id_idx ON personal_tokens (person_id, id);

-- What was mailed to somebody to prove that they read it: verifications, changes of address, password resets.
CREATE TABLE mailed_tokens (
    token_hash bytea PRIMARY KEY,
    person_id uuid NOT NULL REFERENCES people ON DELETE CASCADE,
    purpose text NOT NULL CHECK (purpose IN ('verify', 'reset')),
    email text NOT NULL,
    expires_at timestamptz NOT NULL
);

CREATE INDEX mailed_tokens_person_id_idx ON mailed_tokens (person_id);
CREATE INDEX mailed_tokens_expires_at_idx ON mailed_tokens (expires_at);

-- A handle is never given to somebody else: links and mentions of the past would lead to a stranger.
CREATE TABLE retired_handles (
    handle text PRIMARY KEY,
    retired_at timestamptz NOT NULL
);
