-- What content keeps of people: enough to show an author and to decide who may see what.
-- The users service tells it in events. `version` is the id of the event that a row stands for: older ones change
-- nothing. What ended stays as a row with active = false, so that a late event cannot bring it back.
CREATE TABLE people (
    id uuid PRIMARY KEY,
    handle text NOT NULL,
    display_name text NOT NULL,
    avatar text,
    hidden boolean NOT NULL DEFAULT false,
    posts integer NOT NULL DEFAULT 0,
    version bigint NOT NULL DEFAULT 0
);

-- Not unique: a handle that changed hands may arrive with its new owner before its old one has let go.
CREATE INDEX people_handle_idx ON people (handle);

-- The key answers without the row whether somebody follows: a feed asks it for every post.
CREATE TABLE follows (
    follower uuid NOT NULL,
    followee uuid NOT NULL,
    active boolean NOT NULL,
    version bigint NOT NULL,
    PRIMARY KEY (follower, followee) INCLUDE (active)
);

CREATE TABLE blocks (
    blocker uuid NOT NULL,
    blocked uuid NOT NULL,
    active boolean NOT NULL,
    version bigint NOT NULL,
    PRIMARY KEY (blocker, blocked)
);

-- Whether anybody has blocked a person: asked once for each viewer, before they are given what is kept for everybody.
CREATE INDEX blocks_blocked_idx ON blocks (blocked) WHERE active;

CREATE TABLE mutes (
    muter uuid NOT NULL,
    muted uuid NOT NULL,
    active boolean NOT NULL,
    version bigint NOT NULL,
    PRIMARY KEY (muter, muted)
);
