-- Comments, as threads by `parent_id`. Whoever changes the set of a post's comments or reactions has locked the post's
-- row before, so its counters are the rows, whatever happens at once.
-- A deleted comment that has replies stays, without its author and its text, so that the thread below it holds.
CREATE TABLE comments (
    id uuid PRIMARY KEY,
    post_id uuid NOT NULL REFERENCES posts (id) ON DELETE CASCADE,
    parent_id uuid,
    depth smallint NOT NULL DEFAULT 0,
    author_id uuid REFERENCES people (id),
    text text NOT NULL,
    html text NOT NULL,
    created_at timestamptz NOT NULL,
    edited_at timestamptz,
    deleted_at timestamptz,
    -- A post's comments, oldest first.
    CONSTRAINT comments_post_key UNIQUE (post_id, id),
    -- A reply stands under the same post as what it answers.
    CONSTRAINT comments_parent_fkey FOREIGN KEY (post_id, parent_id) REFERENCES comments (post_id, id),
    CHECK ((author_id IS NULL) = (deleted_at IS NOT NULL)),
    CHECK ((parent_id IS NULL) = (depth = 0))
);

-- Whether a comment has replies.
CREATE INDEX comments_parent_idx ON comments (parent_id) WHERE parent_id IS NOT NULL;
-- What one person wrote, for the export.
CREATE INDEX comments_author_idx ON comments (author_id, id) WHERE author_id IS NOT NULL;

-- One for each person and post. Another kind is a new reaction in the place of the old one, with a new id.
CREATE TABLE reactions (
    post_id uuid NOT NULL REFERENCES posts (id) ON DELETE CASCADE,
    person_id uuid NOT NULL REFERENCES people (id),
    id uuid NOT NULL,
    kind text NOT NULL CHECK (kind IN ('like', 'love', 'haha', 'wow', 'sad', 'angry')),
    created_at timestamptz NOT NULL,
    PRIMARY KEY (post_id, person_id)
);

-- Who reacted to a post, and who did with one kind; newest first.
CREATE INDEX reactions_post_idx ON reactions (post_id, id);
CREATE INDEX reactions_kind_idx ON reactions (post_id, kind, id);
-- What one person left, for the export.
CREATE INDEX reactions_person_idx ON reactions (person_id, id);

-- A bookmark is its owner's alone: it is counted nowhere.
CREATE TABLE bookmarks (
    post_id uuid NOT NULL REFERENCES posts (id) ON DELETE CASCADE,
    person_id uuid NOT NULL,
    id uuid NOT NULL,
    created_at timestamptz NOT NULL,
    PRIMARY KEY (post_id, person_id)
);

-- One person's bookmarks, newest first.
CREATE INDEX bookmarks_person_idx ON bookmarks (person_id, id);
