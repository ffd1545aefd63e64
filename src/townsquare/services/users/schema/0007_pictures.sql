-- The files that came for a profile, in an archive, and were offered to it: each once, so that a picture that its owner has
-- taken away does not come back when the file is told of again.
CREATE TABLE offered_pictures (
    file_id uuid PRIMARY KEY
);
