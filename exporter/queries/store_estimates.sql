-- The most common experiment of `runs` and run of `metrics`, as ANALYZE has sampled them; no table is read.
-- pg_stats has rows only for columns that our role may SELECT, and a most common value only where values repeat.
with estimates as materialized (
  select s.tablename, c.reltuples::float8 * s.most_common_freqs[1] as rows
  from (values ('runs', 'experiment_id'), ('metrics', 'run_uuid')) v (relation, attribute)
  join pg_class c on c.oid = to_regclass(v.relation) and c.reltuples > 0
  join pg_namespace n on n.oid = c.relnamespace
  join pg_stats s on s.schemaname = n.nspname and s.tablename = v.relation and s.attname = v.attribute and not s.inherited
)
select (select rows from estimates where tablename = 'runs') as mlflow_store_largest_experiment_runs,
       (select rows from estimates where tablename = 'metrics') as mlflow_store_largest_run_points
