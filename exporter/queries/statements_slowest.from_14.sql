-- The 500 statements of MLflow's database that took most time, with their texts: for plans, so only
-- every 10 minutes and in reports. Reading texts costs the server the whole file of them: 0.1 s for 4,800 statements of
-- 4.5 MB in all. A SELECT of more than 30,000 characters is not planned, nor is any other command: so they are cut.
select queryid,
       case when ltrim(left(text, 100)) ilike 'select%' then left(text, 30001) else left(text, 2000) end as text,
       calls,
       seconds as mlflow_db_statement_seconds
from (
  select queryid, min(query) as text, sum(calls)::bigint as calls,
         sum(total_plan_time + total_exec_time)::float8 / 1000 as seconds
  from {statements}.pg_stat_statements
  where dbid = (select oid from pg_database where datname = current_database()) and toplevel
  group by queryid
  order by 4 desc
  limit 500
) slowest
