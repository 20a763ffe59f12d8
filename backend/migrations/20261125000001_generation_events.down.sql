DROP TRIGGER generation_changed ON generations;
DROP TRIGGER generation_created ON generations;
DROP FUNCTION record_generation_event();
DROP TABLE generation_events;
