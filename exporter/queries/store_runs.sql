-- Runs by what became of them. MLflow has no index on either column, so all of `runs` is read: rarely.
-- 100,000 runs: 39 ms, 2,041 blocks; 1,000,000: 143 ms by three processes, 20,408 blocks. The points do not matter.
-- (Here and in the other store_*.sql: Postgres 15, all in memory, median of five, on a busy machine of four cores.)
select count(*) filter (where status = 'RUNNING' and lifecycle_stage = 'active') as mlflow_store_running_runs,
       count(*) filter (where lifecycle_stage = 'deleted') as mlflow_store_deleted_runs
from {store}.runs
