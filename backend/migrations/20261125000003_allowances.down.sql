DROP TABLE user_spending;
ALTER TABLE generation_steps DROP COLUMN cost_usd_micros;
ALTER TABLE generations DROP COLUMN cost_usd_micros;
DROP INDEX generations_running_by_user;
DROP INDEX generations_queued_by_user;
