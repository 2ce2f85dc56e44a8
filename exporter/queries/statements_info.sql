-- Before `statements` in the pipeline: a reset that comes between the two must not make what was read before it look new.
select current_setting('pg_stat_statements.max')::int as mlflow_db_statements_limit,
       current_setting('pg_stat_statements.track') as track,
       current_setting('track_io_timing')::bool as io_timing,
       extract(epoch from pg_postmaster_start_time())::float8 as server_started,
       0::float8 as reset
