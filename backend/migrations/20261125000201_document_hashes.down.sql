DROP INDEX documents_by_hash;
