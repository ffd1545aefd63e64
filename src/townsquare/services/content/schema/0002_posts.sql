-- Posts. Ids are UUIDv7, so newest first is the order of the id, also for imported posts (theirs carry their own time).
CREATE EXTENSION IF NOT EXISTS unaccent;

-- Words as they are, without accents and case: a community writes in many languages, so none is stemmed.
CREATE TEXT SEARCH CONFIGURATION plain_words (COPY = simple);
ALTER TEXT SEARCH CONFIGURATION plain_words
    ALTER MAPPING FOR hword, hword_part, word WITH unaccent, simple;

-- A deleted post is a deleted row. Counters stand in the row that every list reads; nothing indexes them, and the
-- free room in each page keeps their updates heap-only.
CREATE TABLE posts (
    id uuid PRIMARY KEY,
    author_id uuid NOT NULL REFERENCES people (id),
    text text NOT NULL,
    html text NOT NULL,
    content_warning text,
    visibility text NOT NULL CHECK (visibility IN ('public', 'followers', 'private')),
    reply_policy text NOT NULL DEFAULT 'everyone'
        CHECK (reply_policy IN ('everyone', 'followers', 'mentioned', 'nobody')),
    tags text [] NOT NULL DEFAULT '{}',
    media jsonb NOT NULL DEFAULT '[]',
    comments integer NOT NULL DEFAULT 0,
    like_count integer NOT NULL DEFAULT 0,
    love_count integer NOT NULL DEFAULT 0,
    haha_count integer NOT NULL DEFAULT 0,
    wow_count integer NOT NULL DEFAULT 0,
    sad_count integer NOT NULL DEFAULT 0,
    angry_count integer NOT NULL DEFAULT 0,
    created_at timestamptz NOT NULL,
    edited_at timestamptz,
    source_id text,
    search tsvector NOT NULL GENERATED ALWAYS AS (
        to_tsvector('plain_words', coalesce(content_warning, '') || ' ' || text)
    ) STORED
) WITH (fillfactor = 90);

-- One author's posts, newest first.
CREATE INDEX posts_author_idx ON posts (author_id, id);
-- The same for those who follow; without the private ones, so that nobody's diary stands between their posts.
CREATE INDEX posts_feed_idx ON posts (author_id, id) WHERE visibility <> 'private';
-- The public timeline.
CREATE INDEX posts_public_idx ON posts (id) WHERE visibility = 'public';
-- Only public posts are found by search.
CREATE INDEX posts_search_idx ON posts USING gin (search) WHERE visibility = 'public';
-- An import that runs twice adds nothing.
CREATE UNIQUE INDEX posts_source_idx ON posts (author_id, source_id) WHERE source_id IS NOT NULL;

-- The tags of public posts only: what a tag's page and the trends are read from. A post's own tags are in its row.
CREATE TABLE post_tags (
    post_id uuid NOT NULL REFERENCES posts (id) ON DELETE CASCADE,
    tag text NOT NULL,
    author_id uuid NOT NULL,
    PRIMARY KEY (post_id, tag) INCLUDE (author_id)
);

CREATE INDEX post_tags_tag_idx ON post_tags (tag, post_id);

-- Who is mentioned may see a private post, and may answer where only the mentioned may.
CREATE TABLE post_mentions (
    post_id uuid NOT NULL REFERENCES posts (id) ON DELETE CASCADE,
    person_id uuid NOT NULL,
    private boolean NOT NULL,
    PRIMARY KEY (post_id, person_id)
);

-- The private posts that mention somebody, newest first, apart from all else that does.
CREATE INDEX post_mentions_private_idx ON post_mentions (person_id, post_id) WHERE private;

-- The versions that an edit replaced, with the visibility they had.
CREATE TABLE post_edits (
    post_id uuid NOT NULL REFERENCES posts (id) ON DELETE CASCADE,
    id uuid NOT NULL,
    text text NOT NULL,
    html text NOT NULL,
    content_warning text,
    visibility text NOT NULL,
    written_at timestamptz NOT NULL,
    replaced_at timestamptz NOT NULL,
    PRIMARY KEY (post_id, id)
);

-- A draft is no post: nothing that lists posts can ever show one.
CREATE TABLE drafts (
    id uuid PRIMARY KEY,
    author_id uuid NOT NULL,
    text text NOT NULL,
    content_warning text,
    visibility text NOT NULL CHECK (visibility IN ('public', 'followers', 'private')),
    reply_policy text NOT NULL CHECK (reply_policy IN ('everyone', 'followers', 'mentioned', 'nobody')),
    media jsonb NOT NULL DEFAULT '[]',
    created_at timestamptz NOT NULL,
    updated_at timestamptz NOT NULL
);

CREATE INDEX drafts_author_idx ON drafts (author_id, id);
