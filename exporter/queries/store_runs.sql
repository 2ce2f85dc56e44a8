-- Runs by what became of them. MLflow has no index on either column, so all of `runs` is read: rarely.
select count(*) filter (where status = 'RUNNING' and lifecycle_stage = 'active') as mlflow_store_running_runs,
       count(*) filter (where lifecycle_stage = 'deleted') as mlflow_store_deleted_runs
from runs
