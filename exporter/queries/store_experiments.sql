-- Experiments by whether they are deleted. Reads all of `experiments`, a small table: 0.3 ms, 2 blocks for 200.
select count(*) filter (where lifecycle_stage = 'active') as mlflow_store_experiments,
       count(*) filter (where lifecycle_stage = 'deleted') as mlflow_store_deleted_experiments
from {store}.experiments
