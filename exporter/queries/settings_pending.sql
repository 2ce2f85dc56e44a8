-- Settings changed in a file or by ALTER SYSTEM that a restart has yet to bring into force, and the database's size,
-- which mlflow_db_setting_recommended_min_bytes and mlflow_db_setting_recommended_max_bytes are computed from.
select count(*) filter (where pending_restart) as mlflow_db_settings_pending_restart,
       pg_database_size(current_database()) as database_bytes
from pg_settings
