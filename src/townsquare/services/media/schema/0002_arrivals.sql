-- What a client said of an upload in pieces, as it said it: the protocol has it told again.
ALTER TABLE resumable_uploads ADD COLUMN metadata text NOT NULL DEFAULT '';

-- Media of archives that are to become files under the very ids: told by the content service, of which `version` is the
-- event's id. One that has been taken up, or is not to be any more, stays as a row with nothing in it, so that neither a
-- late event nor a job that is run twice brings it back.
CREATE TABLE imported_media (
    id uuid PRIMARY KEY,
    owner_id uuid,
    purpose text CHECK (purpose IN ('post', 'avatar', 'banner')),
    alt text,
    version bigint NOT NULL,
    settled boolean NOT NULL DEFAULT false
);
