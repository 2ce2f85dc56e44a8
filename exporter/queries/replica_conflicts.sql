-- Queries of MLflow's database that a replica cancelled because recovery could not wait; no rows on a primary.
select reason, cancelled as mlflow_db_replica_conflicts_total
from pg_stat_database_conflicts c, lateral (
  values ('bufferpin', c.confl_bufferpin), ('deadlock', c.confl_deadlock), ('lock', c.confl_lock),
         ('snapshot', c.confl_snapshot), ('tablespace', c.confl_tablespace)
) r (reason, cancelled)
where c.datname = current_database() and pg_is_in_recovery()
