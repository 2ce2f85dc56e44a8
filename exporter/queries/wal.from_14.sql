-- What Postgres counts of the WAL; times only where they are measured at all.
select wal_bytes::float8 as mlflow_db_wal_bytes_total,
       wal_buffers_full as mlflow_db_wal_buffers_full_total,
       wal_write as mlflow_db_wal_writes_total,
       wal_sync as mlflow_db_wal_syncs_total,
       case when timed then wal_write_time / 1000 end as mlflow_db_wal_write_seconds_total,
       case when timed then wal_sync_time / 1000 end as mlflow_db_wal_sync_seconds_total
from pg_stat_wal, (select current_setting('track_wal_io_timing')::bool) t (timed)
