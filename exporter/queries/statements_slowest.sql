-- mlflow-exporter: the 500 statements of MLflow's database that took most time, with their texts: for plans, so only
-- every 10 minutes and in reports. Reading texts costs the server the whole file of them, 52 ms at 14 MB.
-- Longer texts are cut: what has more than 30,000 characters is not planned, and other commands never are.
select queryid,
       case when ltrim(left(text, 100)) ilike 'select%' then left(text, 30001) else left(text, 2000) end as text,
       calls,
       seconds as mlflow_db_statement_seconds
from (
  select queryid, min(query) as text, sum(calls)::bigint as calls,
         sum(total_plan_time + total_exec_time)::float8 / 1000 as seconds
  from pg_stat_statements
  where dbid = (select oid from pg_database where datname = current_database())
  group by queryid
  order by 4 desc
  limit 500
) slowest
