-- Without texts, since reading one reads the whole file of them, and as one row of arrays: 5,000 statements as rows
-- cost five times as much to decode. The limit is the server's, so statements of all its databases count.
with tracked as materialized (
  select * from pg_stat_statements(false)
)
select (select count(*) from tracked) as mlflow_db_statements_tracked,
       extract(epoch from clock_timestamp())::float8 as read_at,  -- after the aggregates, so after all was read
       array_agg(userid::bigint) as userid,
       array_agg(queryid) as queryid,
       array_agg(toplevel) as toplevel,
       array_agg(extract(epoch from stats_since)::float8) as since,
       array_agg(calls) as calls,
       array_agg(total_plan_time + total_exec_time) as milliseconds,
       array_agg(rows) as rows
from tracked
where dbid = (select oid from pg_database where datname = current_database())
