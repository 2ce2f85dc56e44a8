-- Bytes on disk of MLflow's tables ($1) and their indexes; asks the file system, and waits for no locked table
-- longer than lock_timeout.
select c.relname::text as "table",
       pg_table_size(c.oid) as mlflow_db_table_bytes,
       pg_indexes_size(c.oid) as mlflow_db_table_index_bytes
from pg_class c
where c.relnamespace = {store_oid} and c.relname = any ($1::text[]::name[])
