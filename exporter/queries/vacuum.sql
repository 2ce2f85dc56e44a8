-- When MLflow's tables ($1) were last vacuumed and analysed, by hand or by autovacuum, and what has come since; takes
-- no lock on them. Tables that are only inserted into have no dead rows: what came since is all that shows.
select c.relname::text as "table",
       extract(epoch from clock_timestamp()
         - greatest(pg_stat_get_last_vacuum_time(c.oid), pg_stat_get_last_autovacuum_time(c.oid)))::float8
         as mlflow_db_table_vacuum_age_seconds,
       extract(epoch from clock_timestamp()
         - greatest(pg_stat_get_last_analyze_time(c.oid), pg_stat_get_last_autoanalyze_time(c.oid)))::float8
         as mlflow_db_table_analyze_age_seconds,
       pg_stat_get_ins_since_vacuum(c.oid) as mlflow_db_table_rows_inserted_since_vacuum,
       pg_stat_get_mod_since_analyze(c.oid) as mlflow_db_table_rows_changed_since_analyze
from pg_class c
where c.relnamespace = {store_oid} and c.relname = any ($1::text[]::name[])
