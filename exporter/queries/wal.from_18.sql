-- What Postgres counts of the WAL; times only where they are measured at all. Since 18 writes and syncs are in
-- pg_stat_io, where making new segments (`init`) is apart, as it was left out before.
select w.wal_bytes::float8 as mlflow_db_wal_bytes_total,
       w.wal_buffers_full as mlflow_db_wal_buffers_full_total,
       i.writes as mlflow_db_wal_writes_total,
       i.fsyncs as mlflow_db_wal_syncs_total,
       case when timed then i.write_time / 1000 end as mlflow_db_wal_write_seconds_total,
       case when timed then i.fsync_time / 1000 end as mlflow_db_wal_sync_seconds_total
from pg_stat_wal w, (select current_setting('track_wal_io_timing')::bool) t (timed), (
  select sum(writes)::bigint as writes, sum(fsyncs)::bigint as fsyncs,
         sum(write_time) as write_time, sum(fsync_time) as fsync_time
  from pg_stat_io
  where object = 'wal' and context = 'normal'
) i
