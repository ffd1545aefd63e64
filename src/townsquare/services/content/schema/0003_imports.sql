-- Media that came in an archive: kept in the data folder until the media service takes them up.
-- A row without a post is a picture of the person's profile.
CREATE TABLE imported_media (
    id uuid PRIMARY KEY,
    author_id uuid NOT NULL,
    post_id uuid REFERENCES posts (id) ON DELETE CASCADE,
    purpose text NOT NULL CHECK (purpose IN ('post', 'avatar', 'banner')),
    source text NOT NULL,
    media_type text NOT NULL,
    alt text,
    width integer,
    height integer,
    kept_at timestamptz,
    taken_up_at timestamptz,
    CHECK ((post_id IS NULL) = (purpose <> 'post'))
);

CREATE INDEX imported_media_post_idx ON imported_media (post_id);
-- One avatar and one banner for each person.
CREATE UNIQUE INDEX imported_media_profile_idx ON imported_media (author_id, purpose) WHERE post_id IS NULL;
-- Those of one person whose file is still to be fetched from the archive: an import that was cut off goes on there.
CREATE INDEX imported_media_missing_idx ON imported_media (author_id) WHERE kept_at IS NULL;
