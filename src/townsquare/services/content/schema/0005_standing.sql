-- Whether anybody has blocked a person: asked once for each viewer, before they are given what is kept for everybody.
CREATE INDEX blocks_blocked_idx ON blocks (blocked) WHERE active;
