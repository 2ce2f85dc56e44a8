-- I/O on tables and indexes by who does it: three groups, of the view's more than fifty rows. Before 18 the view counts
-- blocks, so bytes are what all versions have in common. What a group never does is NULL, hence no sample.
with groups as (
  select case backend_type when 'client backend' then 'client' when 'background worker' then 'client'
                           when 'autovacuum worker' then 'autovacuum' when 'autovacuum launcher' then 'autovacuum'
                           else 'background' end as backend,
         sum(reads * op_bytes)::float8 as read, sum(read_time) as read_time,
         sum(writes * op_bytes)::float8 as written, sum(write_time) as write_time,
         sum(extends * op_bytes)::float8 as extended, sum(extend_time) as extend_time,
         sum(fsyncs)::bigint as fsyncs, sum(fsync_time) as fsync_time
  from pg_stat_io
  where object = 'relation'
  group by 1
)
select backend, operation, bytes as mlflow_db_io_bytes_total,
       case when current_setting('track_io_timing')::bool then milliseconds / 1000 end as mlflow_db_io_seconds_total,
       case when operation = 'fsync' then fsyncs end as mlflow_db_io_fsyncs_total
from groups, lateral (
  values ('read', read, read_time), ('write', written, write_time), ('extend', extended, extend_time),
         ('fsync', null, fsync_time)
) o (operation, bytes, milliseconds)
order by 1, 2
