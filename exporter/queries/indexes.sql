-- Scans of each index of MLflow's busiest tables ($1); takes no lock on them.
select t.relname::text as "table",
       i.relname::text as "index",
       pg_stat_get_numscans(i.oid) as mlflow_db_index_scans_total
from pg_index x
join pg_class t on t.oid = x.indrelid
join pg_class i on i.oid = x.indexrelid
where t.relnamespace = {store_oid} and t.relname = any ($1::text[]::name[])
order by 1, 2
limit 80 -- indexes that an operator adds count too; a schema with hundreds of them does not flood us
