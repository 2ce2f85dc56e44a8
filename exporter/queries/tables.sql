-- Statistics of MLflow's tables ($1): counters and estimates that Postgres keeps anyway; takes no lock on the tables.
-- reltuples is -1 (14+) or 0 with no page (13) where a table was never analysed: no estimate, so no row count.
select c.relname::text as "table",
       case when c.reltuples > 0 or (c.reltuples = 0 and c.relpages > 0) then c.reltuples::float8 end
         as mlflow_db_table_rows,
       pg_stat_get_dead_tuples(c.oid) as mlflow_db_table_dead_rows,
       pg_stat_get_numscans(c.oid) as mlflow_db_table_sequential_scans_total,
       pg_stat_get_tuples_returned(c.oid) as mlflow_db_table_sequential_rows_read_total,
       pg_stat_get_tuples_inserted(c.oid) as mlflow_db_table_rows_inserted_total,
       pg_stat_get_tuples_updated(c.oid) as mlflow_db_table_rows_updated_total,
       case when pg_stat_get_tuples_updated(c.oid) > 0 then pg_stat_get_tuples_hot_updated(c.oid) end
         as mlflow_db_table_rows_hot_updated_total,
       pg_stat_get_tuples_deleted(c.oid) as mlflow_db_table_rows_deleted_total
from pg_class c
where c.relnamespace = {store_oid} and c.relname = any ($1::text[]::name[])
