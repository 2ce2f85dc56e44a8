-- Before `statements` in the pipeline: a reset that comes between the two must not make what was read before it look new.
select current_setting('pg_stat_statements.max')::int as mlflow_db_statements_limit,
       current_setting('pg_stat_statements.track') as track,
       current_setting('track_io_timing')::bool as io_timing,
       current_setting('compute_query_id') as query_ids,
       extract(epoch from pg_postmaster_start_time())::float8 as server_started,
       extract(epoch from stats_reset)::float8 as reset,
       dealloc as mlflow_db_statements_evicted_total
from {statements}.pg_stat_statements_info
