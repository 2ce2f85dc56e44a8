-- One row of pg_stat_database for MLflow's database; I/O times only where they are measured at all.
select d.numbackends as mlflow_db_backends,
       d.xact_commit as mlflow_db_commits_total,
       d.xact_rollback as mlflow_db_rollbacks_total,
       d.deadlocks as mlflow_db_deadlocks_total,
       d.conflicts as mlflow_db_conflicts_total,
       d.temp_files as mlflow_db_temp_files_total,
       d.temp_bytes as mlflow_db_temp_bytes_total,
       d.blks_hit as mlflow_db_blocks_hit_total,
       d.blks_read as mlflow_db_blocks_read_total,
       case when current_setting('track_io_timing')::bool
            then d.blk_read_time / 1000 end as mlflow_db_block_read_seconds_total,
       case when current_setting('track_io_timing')::bool
            then d.blk_write_time / 1000 end as mlflow_db_block_write_seconds_total,
       d.tup_returned as mlflow_db_rows_returned_total,
       d.tup_fetched as mlflow_db_rows_fetched_total,
       d.tup_inserted as mlflow_db_rows_inserted_total,
       d.tup_updated as mlflow_db_rows_updated_total,
       d.tup_deleted as mlflow_db_rows_deleted_total,
       extract(epoch from pg_postmaster_start_time())::float8 as mlflow_db_start_timestamp_seconds,
       extract(epoch from d.stats_reset)::float8 as mlflow_db_stats_reset_timestamp_seconds
from pg_stat_database d
where d.datid = (select oid from pg_database where datname = current_database())
