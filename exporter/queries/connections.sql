-- Client connections to MLflow's database by state; every state has a row, so that an absent one reads 0.
-- A role without pg_read_all_stats is shown other roles' sessions without their state: `unknown`.
select s.state, coalesce(c.n, 0) as mlflow_db_connections
from (values ('active'), ('idle'), ('idle in transaction'), ('idle in transaction (aborted)'),
             ('fastpath function call'), ('disabled'), ('starting'), ('unknown')) s (state)
left join (
  -- A session that is still logging in has a type but no state yet.
  select coalesce(state, case when backend_type is null then 'unknown' else 'starting' end) as state, count(*) as n
  from pg_stat_activity
  where datname = current_database() and usesysid is not null
    and coalesce(backend_type, 'client backend') = 'client backend'
  group by 1
) c using (state)
