-- What content keeps of files, as the media service tells it in events: enough to check and to describe what a post shows.
-- `version` is the id of the event that a row stands for, 0 for what was asked for before its event came. A deleted file
-- stays as a row with active = false, so that a late event cannot bring it back.
CREATE TABLE media_files (
    id uuid PRIMARY KEY,
    owner_id uuid NOT NULL,
    kind text,
    visibility text,
    width integer,
    height integer,
    thumbhash text,
    alt text,
    active boolean NOT NULL,
    version bigint NOT NULL DEFAULT 0,
    CHECK (NOT active OR (kind IS NOT NULL AND visibility IS NOT NULL))
);

-- Which posts show a file, and have to be described anew when it changes. A post's own list, in order, is in its row.
CREATE TABLE post_media (
    media_id uuid NOT NULL,
    post_id uuid NOT NULL REFERENCES posts (id) ON DELETE CASCADE,
    PRIMARY KEY (media_id, post_id)
);

CREATE INDEX post_media_post_idx ON post_media (post_id);

INSERT INTO post_media (media_id, post_id)
SELECT (m ->> 'id')::uuid, p.id
FROM posts AS p
CROSS JOIN LATERAL jsonb_array_elements(p.media) AS m
WHERE p.media <> '[]'
ON CONFLICT DO NOTHING;
