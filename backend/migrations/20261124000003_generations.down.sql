DROP TABLE idempotency_keys;
DROP TABLE generation_steps;
DROP TABLE generation_documents;
DROP TABLE generations;
