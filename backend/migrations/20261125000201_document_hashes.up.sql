-- Of equal documents of one user the oldest stays, and stands in for the others.
CREATE TEMPORARY TABLE equal_documents ON COMMIT DROP AS
    SELECT id, first_value(id) OVER (PARTITION BY user_id, sha256 ORDER BY id) AS kept FROM documents;

UPDATE generation_documents gd SET document_id = e.kept
    FROM equal_documents e WHERE e.id = gd.document_id AND e.kept <> e.id;
DELETE FROM documents d USING equal_documents e WHERE e.id = d.id AND e.kept <> e.id;

CREATE UNIQUE INDEX documents_by_hash ON documents (user_id, sha256);
