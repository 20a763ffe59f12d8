-- The text of a document, once somebody has read it: a document never changes, so it is read once.
ALTER TABLE documents ADD COLUMN text text;
