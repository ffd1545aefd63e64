-- What media keeps of people: enough to name an owner and to decide who may see what. The users service tells it in
-- events. `version` is the id of the event that a row stands for: older ones change nothing. A block that ended stays as
-- a row with active = false, so that a late event cannot bring it back.
CREATE TABLE people (
    id uuid PRIMARY KEY,
    handle text NOT NULL,
    hidden boolean NOT NULL DEFAULT false,
    version bigint NOT NULL DEFAULT 0
);

-- Not unique: a handle that changed hands may arrive with its new owner before its old one has let go.
CREATE INDEX people_handle_idx ON people (handle);

CREATE TABLE blocks (
    blocker uuid NOT NULL,
    blocked uuid NOT NULL,
    active boolean NOT NULL,
    version bigint NOT NULL,
    PRIMARY KEY (blocker, blocked)
);

-- Whether anybody has blocked a person: asked once for each viewer, before they are given what is kept for everybody.
CREATE INDEX blocks_blocked_idx ON blocks (blocked) WHERE active;

-- What is in the object storage, by the hash of its content: the same bytes are there once. `refs` counts the files that
-- use it, in the transactions that make and delete them. What nobody uses is swept when it has not been put for an hour:
-- whoever is about to use it says so (`put_at`) before the bytes are written, so they cannot be swept in between.
CREATE TABLE objects (
    name text PRIMARY KEY,
    bytes bigint NOT NULL,
    refs integer NOT NULL DEFAULT 0 CHECK (refs >= 0),
    put_at timestamptz NOT NULL DEFAULT now()
);

CREATE INDEX objects_unused_idx ON objects (put_at) WHERE refs = 0;

-- Ids are UUIDv7, so newest first is the order of the id. `original` and what `variants` names are objects; `variants` is
-- {size: {format: {object, width, height, bytes}}}. `preview` is the tiny blurred picture as a `data:` address.
CREATE TABLE files (
    id uuid PRIMARY KEY,
    owner_id uuid NOT NULL REFERENCES people (id),
    kind text NOT NULL CHECK (kind IN ('image', 'video', 'audio', 'document', 'other')),
    media_type text NOT NULL,
    name text NOT NULL,
    alt text,
    visibility text NOT NULL CHECK (visibility IN ('public', 'unlisted', 'private')),
    status text NOT NULL CHECK (status IN ('ready', 'processing')),
    problem text,
    original text NOT NULL REFERENCES objects (name),
    bytes bigint NOT NULL,
    width integer,
    height integer,
    frames integer,
    alpha boolean,
    wide_gamut boolean,
    thumbhash text,
    preview text,
    dominant_colors text [] NOT NULL DEFAULT '{}',
    focus_x real,
    focus_y real,
    fingerprint text,
    variants jsonb NOT NULL DEFAULT '{}',
    purpose text NOT NULL DEFAULT 'upload' CHECK (purpose IN ('upload', 'post', 'avatar', 'banner')),
    created_at timestamptz NOT NULL
);

-- One person's files, all and of one kind, newest first.
CREATE INDEX files_owner_idx ON files (owner_id, id);
CREATE INDEX files_owner_kind_idx ON files (owner_id, kind, id);
-- Everybody's public files, all and of one kind.
CREATE INDEX files_public_idx ON files (id) WHERE visibility = 'public';
CREATE INDEX files_public_kind_idx ON files (kind, id) WHERE visibility = 'public';
-- What else has these very bytes: its pictures need not be made again. The foreign key is checked by it, too.
CREATE INDEX files_original_idx ON files (original);
-- What is still to be worked on.
CREATE INDEX files_processing_idx ON files (id) WHERE status = 'processing';

-- What each person's originals take, counted in the transactions that make and delete files.
CREATE TABLE usage (
    owner_id uuid PRIMARY KEY,
    files integer NOT NULL,
    bytes bigint NOT NULL CHECK (bytes >= 0)
);

-- Uploads in pieces (tus). The bytes so far are a draft in the data folder, named by the id; `received` is what is safely
-- in it. `file_id` is what it became.
CREATE TABLE resumable_uploads (
    id uuid PRIMARY KEY,
    owner_id uuid NOT NULL,
    length bigint NOT NULL,
    received bigint NOT NULL DEFAULT 0,
    name text NOT NULL,
    alt text,
    visibility text NOT NULL CHECK (visibility IN ('public', 'unlisted', 'private')),
    file_id uuid,
    created_at timestamptz NOT NULL,
    expires_at timestamptz NOT NULL
);

CREATE INDEX resumable_uploads_owner_idx ON resumable_uploads (owner_id, id);
CREATE INDEX resumable_uploads_expired_idx ON resumable_uploads (expires_at);
