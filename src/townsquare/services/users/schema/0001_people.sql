-- People as everybody may see them; what only they may see is in accounts.
CREATE EXTENSION IF NOT EXISTS unaccent;

CREATE TABLE people (
    id uuid PRIMARY KEY,
    handle text NOT NULL CHECK (handle ~ '^[a-z0-9_]{2,30}$'),
    display_name text NOT NULL CHECK (char_length(display_name) BETWEEN 1 AND 100),
    bio text NOT NULL DEFAULT '',
    avatar text,
    banner text,
    location text,
    website text,
    fields jsonb NOT NULL DEFAULT '[]',
    followers integer NOT NULL DEFAULT 0,
    following integer NOT NULL DEFAULT 0,
    posts integer NOT NULL DEFAULT 0,
    posts_version bigint NOT NULL DEFAULT 0,
    hidden_at timestamptz,
    created_at timestamptz NOT NULL DEFAULT now(),
    updated_at timestamptz NOT NULL DEFAULT now()
);

CREATE UNIQUE INDEX people_handle_idx ON people (handle);
