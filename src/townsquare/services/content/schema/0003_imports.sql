-- Media that came with imported posts: kept in the data folder until the media service takes them up.
CREATE TABLE imported_media (
    id uuid PRIMARY KEY,
    author_id uuid NOT NULL,
    post_id uuid NOT NULL REFERENCES posts (id) ON DELETE CASCADE,
    source text NOT NULL,
    media_type text NOT NULL,
    alt text,
    width integer,
    height integer,
    taken_up_at timestamptz
);

CREATE INDEX imported_media_post_idx ON imported_media (post_id);
CREATE INDEX imported_media_waiting_idx ON imported_media (id) WHERE taken_up_at IS NULL;
