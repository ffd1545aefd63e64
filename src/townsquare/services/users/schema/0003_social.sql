-- Who follows, blocks and mutes whom. people.followers and people.following count the follows, hidden people included.
-- A primary key finds the pair; the index beside it lists one side, newest first when it is read backward.
CREATE TABLE follows (
    follower uuid NOT NULL REFERENCES people ON DELETE CASCADE,
    followee uuid NOT NULL REFERENCES people ON DELETE CASCADE,
    since timestamptz NOT NULL,
    PRIMARY KEY (follower, followee),
    CHECK (follower <> followee)
);

CREATE INDEX follows_followee_since_idx ON follows (followee, since, follower);
CREATE INDEX follows_follower_since_idx ON follows (follower, since, followee);

CREATE TABLE blocks (
    blocker uuid NOT NULL REFERENCES people ON DELETE CASCADE,
    blocked uuid NOT NULL REFERENCES people ON DELETE CASCADE,
    since timestamptz NOT NULL,
    PRIMARY KEY (blocked, blocker),
    CHECK (blocker <> blocked)
);

CREATE INDEX blocks_blocker_since_idx ON blocks (blocker, since, blocked);

CREATE TABLE mutes (
    muter uuid NOT NULL REFERENCES people ON DELETE CASCADE,
    muted uuid NOT NULL REFERENCES people ON DELETE CASCADE,
    since timestamptz NOT NULL,
    PRIMARY KEY (muted, muter),
    CHECK (muter <> muted)
);

CREATE INDEX mutes_muter_since_idx ON mutes (muter, since, muted);
