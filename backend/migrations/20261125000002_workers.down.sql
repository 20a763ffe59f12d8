DROP INDEX generations_succeeded;
DROP TABLE worker_processes;
