-- Without texts, since reading one reads the whole file of them. All statements in two binary arrays, of which we
-- take apart what has moved: 5,000 rows cost us five times as much. The limit is the server's, so statements of all its
-- databases count. Measured: 8 ms of the server's time with 5,000 statements, 4 of them in the function; 0.2 with 100.
select count(*) as mlflow_db_statements_tracked,
       extract(epoch from clock_timestamp())::float8 as read_at,  -- after the aggregates, so after all was read
       -- A queryid that our role may not see is 0, which no statement has.
       array_send(array_agg(array[userid::bigint * 2 + toplevel::int, coalesce(queryid, 0)]::bigint[])
                  filter (where dbid = here.oid)) as statements,
       array_send(array_agg(array[0, calls, total_plan_time + total_exec_time, rows,
                                  shared_blks_hit, shared_blks_read, temp_blks_read + temp_blks_written, wal_bytes,
                                  blk_read_time + blk_write_time + temp_blk_read_time + temp_blk_write_time]::float8[])
                  filter (where dbid = here.oid)) as counts
from {statements}.pg_stat_statements(false), (select oid from pg_database where datname = current_database()) as here
